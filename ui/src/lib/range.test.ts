import { describe, expect, it } from 'vitest';

import { rangeOf, resolve, withRange } from './range';

const range = (text: string) => rangeOf(new URLSearchParams(text), '24h');

describe('rangeOf', () => {
  it('reads a named range, or two times', () => {
    expect(range('range=6h')).toEqual({ kind: 'last', seconds: 21_600 });
    expect(range('')).toEqual({ kind: 'last', seconds: 86_400 });
    expect(range('since=2026-01-01T00:00:00Z&until=nonsense')).toEqual({
      kind: 'between',
      since: '2026-01-01T00:00:00Z',
      until: '',
    });
    expect(range('range=nonsense')).toEqual({ kind: 'last', seconds: 3600 });
  });

  it('is written back', () => {
    const before = new URLSearchParams('since=2026-01-01T00:00:00Z&agent=a');
    expect(withRange(before, { kind: 'last', seconds: 3600 }).toString()).toBe('agent=a&range=1h');
  });
});

describe('resolve', () => {
  it('moves along with the clock', () => {
    const now = Date.parse('2026-01-01T01:00:00Z');
    expect(resolve({ kind: 'last', seconds: 3600 }, now)).toEqual({
      since: '2026-01-01T00:00:00.000Z',
    });
  });
});
