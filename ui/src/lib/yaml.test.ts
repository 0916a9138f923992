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
