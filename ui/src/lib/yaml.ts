import type { Json, JsonObject } from '../api/types';

/** Words that YAML, or some reader of it, takes for something else than text. */
const RESERVED = /^(true|false|null|yes|no|on|off|y|n|~)$/i;
const PLAIN = /^[A-Za-z_][\w./*-]*$/;
/** As long as a line gets before a value is laid out over several. */
const WIDTH = 96;

/** A value on one line: `{model: gpt-4, tags: [a, b]}`. */
export function flow(value: Json): string {
  if (typeof value === 'string') return text(value);
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`;
  if (value !== null && typeof value === 'object') {
    const members = Object.entries(value).map(([key, member]) => `${text(key)}: ${flow(member)}`);
    return `{${members.join(', ')}}`;
  }
  return JSON.stringify(value);
}

/** Members of a mapping, each on a line of its own where they fit. */
export function block(members: JsonObject, indent: string): string {
  return Object.entries(members)
    .map(([key, value]) => member(text(key), value, indent))
    .join('\n');
}

function member(key: string, value: Json, indent: string): string {
  const line = `${indent}${key}: ${flow(value)}`;
  if (line.length <= WIDTH || value === null || typeof value !== 'object') return line;
  const deeper = `${indent}  `;
  if (!Array.isArray(value)) return `${indent}${key}:\n${block(value, deeper)}`;
  return `${indent}${key}:\n${value.map((one) => `${deeper}- ${flow(one)}`).join('\n')}`;
}

/** JSON's way to quote text is YAML's as well. */
function text(value: string): string {
  return PLAIN.test(value) && !RESERVED.test(value) ? value : JSON.stringify(value);
}
