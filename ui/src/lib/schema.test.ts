import { describe, expect, it } from 'vitest';

import { changedParameters, fault, fieldsOf, type Field } from './schema';

const field = (kind: Partial<Field>): Field =>
  ({ key: 'k', label: 'K', help: '', required: false, ...kind }) as Field;

describe('fieldsOf', () => {
  it('asks for each property in its own way', () => {
    const fields = fieldsOf({
      properties: {
        max_usd: { type: 'integer', minimum: 0, default: 5 },
        start: { type: 'string', pattern: '^([01][0-9]|2[0-3]):[0-5][0-9]$' },
        time_zone: { type: 'string' },
        count: { type: 'string', enum: ['agent', 'scope'] },
        models: { type: 'array', items: { type: 'string' }, maxItems: 2 },
        strict: { type: 'boolean' },
        nested: { type: 'object' },
        name: { type: 'string', minLength: 1 },
      },
    });
    expect(fields.map(({ kind }) => kind)).toEqual([
      'number',
      'time',
      'zone',
      'choice',
      'list',
      'flag',
      'json',
      'text',
    ]);
    expect(fields[0]).toMatchObject({ label: 'Max USD', min: 0, whole: true });
  });

  it('offers each weekday once', () => {
    const [days] = fieldsOf({
      properties: {
        days: { type: 'array', items: { enum: [0, 1, 'Mon', 'Tue', 'mon', 'tue', 'Monday'] } },
      },
    });
    expect(days).toMatchObject({ kind: 'list', options: ['Mon', 'Tue'] });
  });

  it('keeps the order of the author', () => {
    const rego = '# METADATA\n# custom:\n#   parameters:\n#     start:\n#     end:\npackage a';
    const fields = fieldsOf({ properties: { end: {}, other: {}, start: {} } }, rego);
    expect(fields.map(({ key }) => key)).toEqual(['start', 'end', 'other']);
  });

  it('has no fields without a schema', () => {
    expect(fieldsOf(null)).toEqual([]);
  });
});

describe('fault', () => {
  it('says what is wrong with a number', () => {
    const number = field({ kind: 'number', whole: true, min: 1, max: 9 });
    expect(fault(number, 0)).toBe('At least 1.');
    expect(fault(number, 10)).toBe('At most 9.');
    expect(fault(number, 1.5)).toBe('A whole number is needed.');
    expect(fault(number, 3)).toBeNull();
  });

  it('knows times of day', () => {
    const time = field({ kind: 'time' });
    expect(fault(time, '25:00')).not.toBeNull();
    expect(fault(time, '24:00')).toBeNull();
  });

  it('takes an empty field only where it may be empty', () => {
    expect(fault(field({ kind: 'text' }), '')).toBeNull();
    expect(fault(field({ kind: 'text', required: true }), '')).toBe('Needed.');
  });
});

describe('changedParameters', () => {
  it('sends what differs', () => {
    expect(changedParameters({ a: 1, b: ['x'] }, { a: 2, b: ['x'], c: null })).toEqual({ a: 2 });
  });
});
