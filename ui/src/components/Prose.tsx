import { Code } from '@mantine/core';

/** Text of the server, with what stands between backticks set as code. */
export function Prose({ text }: { text: string }) {
  return text
    .split(/`([^`]+)`/)
    .map((part, index) => (index % 2 === 1 ? <Code key={index}>{part}</Code> : part));
}
