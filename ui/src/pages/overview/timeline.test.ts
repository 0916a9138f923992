import { expect, it } from 'vitest';

import type { Overview, TimelinePoint } from '../../api/types';
import { bucketLink, points } from './timeline';

const point = (at: string, allow: number): TimelinePoint => ({
  at,
  allow,
  deny: 0,
  would_deny: 0,
  error: 0,
  unchecked: 0,
  p50_us: 1,
  p95_us: 2,
  p99_us: 3,
});

const stats = {
  since: '2026-01-01T00:00:30Z',
  until: '2026-01-01T00:05:10Z',
  bucket_seconds: 60,
  timeline: [point('2026-01-01T00:02:00Z', 7)],
} as Overview;

it('has a point for each bucket, the empty ones too', () => {
  const all = points(stats);
  expect(all.map(({ allow }) => allow)).toEqual([0, 7, 0, 0, 0]);
  expect(all[0]).toMatchObject({ at: '2026-01-01T00:01:00.000Z', p50: null });
});

it('links a bucket to its decisions', () => {
  expect(bucketLink(stats, '2026-01-01T00:02:00.000Z', 'unchecked')).toBe(
    '/audit?unchecked=true&since=2026-01-01T00%3A02%3A00.000Z&until=2026-01-01T00%3A03%3A00.000Z',
  );
});
