import { Text } from '@codemirror/state';
import { expect, it } from 'vitest';

import { columnOf, diagnosticsOf } from './diagnostics';

it('finds a column given in bytes', () => {
  expect(columnOf('x := "ä" + y', 12)).toBe(10);
  expect(columnOf('abc', 1)).toBe(0);
  expect(columnOf('abc', 99)).toBe(3);
});

it('keeps findings inside of the text', () => {
  const doc = Text.of(['package a', 'x := 1']);
  const [found] = diagnosticsOf(doc, [
    { severity: 'error', code: 'parse', line: 9, column: 9, message: 'no', help: 'fix it' },
  ]);
  expect(found).toMatchObject({ from: 16, to: 16, severity: 'error', message: 'no\nfix it' });
});
