import { expect, it } from 'vitest';

import { baseOf, overtaken, saved, typed, unsaved, type Draft } from './draft';

const first = { content: 'one', version: 1 };
const second = { content: 'one, tuned', version: 2 };

function written(text: string, before: Draft | null = null): Draft {
  const draft = typed(before, first, text);
  if (!draft) throw new Error('nothing was typed');
  return draft;
}

it('is a draft as long as it differs from what is stored', () => {
  const draft = written('one, tuned');
  expect(unsaved(draft, first)).toBe('one, tuned');
  expect(unsaved(draft, second)).toBeNull();
  expect(typed(draft, first, 'one')).toBeNull();
});

it('keeps what is typed while a save is under way, as a draft upon what was saved', () => {
  const during = written('one, tuned, and more', written('one, tuned'));
  const after = saved(during, 'one, tuned', 2);
  expect(unsaved(after, second)).toBe('one, tuned, and more');
  expect(baseOf(after, second)).toBe(2);
  expect(saved(written('one, tuned'), 'one, tuned', 2)).toBeNull();
});

it('is saved upon the text that it was made from', () => {
  const draft = written('mine');
  expect(baseOf(draft, second)).toBe(1);
  expect(baseOf(draft, { ...first, version: 5 })).toBe(5);
  const told = overtaken(draft, 2);
  expect(baseOf(told, second)).toBe(2);
  expect(told?.overtakenBy).toBe(2);
  // What the refused save said goes with the next one.
  expect(saved(written('mine still', told), 'mine', 3)?.overtakenBy).toBeNull();
  expect(baseOf(null, second)).toBe(2);
});
