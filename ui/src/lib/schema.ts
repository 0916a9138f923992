import type { Json, JsonObject, JsonSchema } from '../api/types';

/** How one setting of a policy is asked for. */
export type Field = {
  key: string;
  label: string;
  help: string;
  required: boolean;
} & (
  | { kind: 'text' }
  | { kind: 'zone' }
  | { kind: 'time' }
  | { kind: 'number'; whole: boolean; min?: number; max?: number }
  | { kind: 'flag' }
  | { kind: 'choice'; options: Json[] }
  | { kind: 'list'; options: Json[] | null; max?: number }
  | { kind: 'json' }
);

/** Keys in the order of the policy's metadata, from start to end; JSON came with them sorted by name. */
export function inAuthorsOrder(keys: string[], rego: string): string[] {
  const lines = rego.split('\n').map((line) => line.replace(/^#\s*/, ''));
  const place = (key: string) => {
    const line = lines.findIndex((text) => text.startsWith(`${key}:`));
    return line < 0 ? lines.length : line;
  };
  return [...keys].sort((a, b) => place(a) - place(b));
}

/** The form for a policy's parameters, a field per property of their schema. */
export function fieldsOf(schema: JsonSchema | null | undefined, rego = ''): Field[] {
  const required = new Set(schema?.required ?? []);
  const properties = schema?.properties ?? {};
  return inAuthorsOrder(Object.keys(properties), rego).map((key) => {
    const property = properties[key] ?? {};
    return {
      key,
      label: property.title ?? labelOf(key),
      help: property.description ?? '',
      required: required.has(key),
      ...kindOf(key, property),
    };
  });
}

function kindOf(key: string, schema: JsonSchema) {
  if (schema.enum) return { kind: 'choice' as const, options: schema.enum };
  const type = Array.isArray(schema.type) ? schema.type.find((one) => one !== 'null') : schema.type;
  switch (type) {
    case 'boolean':
      return { kind: 'flag' as const };
    case 'integer':
    case 'number': {
      const limits: { min?: number; max?: number } = {};
      if (schema.minimum !== undefined) limits.min = schema.minimum;
      if (schema.maximum !== undefined) limits.max = schema.maximum;
      return { kind: 'number' as const, whole: type === 'integer', ...limits };
    }
    case 'string':
      if (key === 'time_zone' || key === 'timezone') return { kind: 'zone' as const };
      return { kind: isTime(schema) ? ('time' as const) : ('text' as const) };
    case 'array':
      return listOf(schema);
    default:
      return { kind: 'json' as const };
  }
}

function listOf(schema: JsonSchema) {
  const items = schema.items ?? {};
  const limit = schema.maxItems === undefined ? {} : { max: schema.maxItems };
  if (items.enum) return { kind: 'list' as const, options: distinct(items.enum), ...limit };
  if (items.type === 'string') return { kind: 'list' as const, options: null, ...limit };
  return { kind: 'json' as const };
}

/** A schema may take `Mon`, `mon` and `Monday`; a list to pick from shows each meaning once. */
function distinct(options: Json[]): Json[] {
  const texts = options.filter((option): option is string => typeof option === 'string');
  if (texts.length < options.length && texts.length > 0) return distinct(texts);
  return texts.filter(
    (text) =>
      !texts.some(
        (other) =>
          other !== text &&
          text.toLowerCase().startsWith(other.toLowerCase()) &&
          (other.length < text.length || (isCapital(other) && !isCapital(text))),
      ),
  );
}

function isCapital(text: string): boolean {
  return /^\p{Lu}/u.test(text);
}

/** HH:MM, told by the format or by a pattern that takes 09:30 and refuses 99:99. */
function isTime(schema: JsonSchema): boolean {
  if (schema.format === 'time') return true;
  if (!schema.pattern) return false;
  try {
    const pattern = new RegExp(schema.pattern);
    return pattern.test('09:30') && !pattern.test('99:99') && !pattern.test('a');
  } catch {
    return false;
  }
}

function labelOf(key: string): string {
  const text = key.replaceAll('_', ' ');
  return (text.charAt(0).toUpperCase() + text.slice(1)).replace(/\b(usd|id|url)\b/gi, (word) =>
    word.toUpperCase(),
  );
}

/** What is wrong with a value, in words; null when it may be sent. */
export function fault(field: Field, value: Json | undefined): string | null {
  if (value === undefined || value === null || value === '') {
    return field.required ? 'Needed.' : null;
  }
  if (field.kind === 'number') {
    if (typeof value !== 'number' || Number.isNaN(value)) return 'A number is needed.';
    if (field.whole && !Number.isInteger(value)) return 'A whole number is needed.';
    if (field.min !== undefined && value < field.min) return `At least ${field.min}.`;
    if (field.max !== undefined && value > field.max) return `At most ${field.max}.`;
  }
  if (field.kind === 'time' && !/^([01]\d|2[0-3]):[0-5]\d$|^24:00$/.test(String(value))) {
    return 'A time as HH:MM.';
  }
  if (field.kind === 'list' && field.max !== undefined && Array.isArray(value)) {
    if (value.length > field.max) return `At most ${field.max} entries.`;
  }
  return null;
}

/** The parameters to send: those that differ from what is stored, empty fields left out. */
export function changedParameters(before: JsonObject, after: JsonObject): JsonObject {
  const changed: JsonObject = {};
  for (const [key, value] of Object.entries(after)) {
    if (value === null || value === '') continue;
    if (JSON.stringify(before[key]) !== JSON.stringify(value)) changed[key] = value;
  }
  return changed;
}
