import type { Json, JsonObject } from '../api/types';

/** Words that YAML, or some reader of it, takes for something else than text. */
const RESERVED = /^(true|false|null|yes|no|on|off|y|n|~)$/i;
const PLAIN = /^[A-Za-z_][\w./*-]*$/;
/** What YAML does not take as it stands, or some reader of it takes for the end of a line. */
const UNPRINTABLE = /[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]/g;
/** Half of a pair: no Unicode text has it, and YAML can't write it. */
const LONE = /\p{Surrogate}/gu;
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
  // Laid out over several lines, nothing would be left of it.
  if (Object.keys(value).length === 0) return line;
  const deeper = `${indent}  `;
  if (!Array.isArray(value)) return `${indent}${key}:\n${block(value, deeper)}`;
  return `${indent}${key}:\n${value.map((one) => `${deeper}- ${flow(one)}`).join('\n')}`;
}

/** JSON's way to quote text is YAML's as well, but for characters that YAML wants escaped. */
function text(value: string): string {
  if (PLAIN.test(value) && !RESERVED.test(value)) return value;
  return JSON.stringify(value.replaceAll(LONE, '\ufffd')).replaceAll(UNPRINTABLE, escaped);
}

function escaped(character: string): string {
  const code = character.charCodeAt(0).toString(16);
  return code.length > 2 ? `\\u${code.padStart(4, '0')}` : `\\x${code}`;
}
