import { expect, it } from 'vitest';

import { bytes, count, micros, percent, seconds, shortCount, usd, words } from './format';

it('writes numbers in the unit that reads best', () => {
  expect([micros(214.4), micros(1043), micros(2_500_000)]).toEqual(['214 µs', '1.04 ms', '2.5 s']);
  expect([bytes(12), bytes(1536), bytes(268_435_456)]).toEqual(['12 B', '1.5 KiB', '256 MiB']);
  expect([seconds(30), seconds(5400), seconds(604_800)]).toEqual(['30 s', '1.5 h', '7 d']);
  expect([shortCount(9999), shortCount(123_456)]).toEqual(['9,999', '123.5K']);
  expect([usd(0), usd(0.004), usd(31.2204)]).toEqual(['$0.00', '$0.004', '$31.22']);
});

it('never rounds a share up to all', () => {
  expect([percent(1), percent(0.99999), percent(0)]).toEqual(['100%', '99.9%', '0.0%']);
});

it('shows what is not known as a dash', () => {
  expect([count(null), usd(undefined), percent(null)]).toEqual(['–', '–', '–']);
});

it('says identifiers as people would', () => {
  expect(words('budget_exceeded')).toBe('Budget exceeded');
});
