import { expect, it } from 'vitest';

import { block, flow } from './yaml';

it('writes values on one line, and quotes what YAML would take for something else', () => {
  expect(flow({ model: 'gpt-4', tags: ['a', 'no', '0.5', 'x: y', ''], cost: 0.5, at: null })).toBe(
    '{model: gpt-4, tags: [a, "no", "0.5", "x: y", ""], cost: 0.5, at: null}',
  );
  expect(flow({ 'a b': { '*': true } })).toBe('{"a b": {"*": true}}');
  expect(flow('two\nlines "quoted"')).toBe('"two\\nlines \\"quoted\\""');
});

it('lays long values out over several lines', () => {
  const words = Array.from({ length: 12 }, (_, index) => `word-${index}-of-many`);
  expect(block({ short: 1, context: { agent: 'planner', words } }, '  ')).toBe(
    [
      '  short: 1',
      '  context:',
      '    agent: planner',
      '    words:',
      ...words.map((word) => `      - ${word}`),
    ].join('\n'),
  );
});

it('escapes what YAML does not take as it stands', () => {
  expect(flow('a\x7fb')).toBe(String.raw`"a\x7fb"`);
  expect(flow('a\u0085b\u009f')).toBe(String.raw`"a\x85b\x9f"`);
  expect(flow('a\u2028b\uffff')).toBe(String.raw`"a\u2028b\uffff"`);
  expect(flow('a\u0000\u001b\n')).toBe(String.raw`"a\u0000\u001b\n"`);
  expect(flow({ 'k\x7f': 'ü 😀' })).toBe(String.raw`{"k\x7f": "ü 😀"}`);
});

it('writes halves of a pair as the character that stands for none', () => {
  expect(flow('a\ud800b')).toBe('"a\ufffdb"');
  expect(flow('\udc00\ud800')).toBe('"\ufffd\ufffd"');
  // What some text says of them is no such half.
  expect(flow('\\ud800')).toBe('"\\\\ud800"');
});

it('keeps what is empty under a key of any length', () => {
  const key = 'a-key-that-is-longer-than-a-line-'.repeat(4);
  expect(block({ [key]: {} }, '  ')).toBe(`  ${key}: {}`);
  expect(block({ [key]: [] }, '  ')).toBe(`  ${key}: []`);
  expect(block({ [key]: { [key]: {} } }, '')).toBe(`${key}:\n  ${key}: {}`);
});
