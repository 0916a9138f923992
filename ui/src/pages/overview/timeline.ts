import type { Overview } from '../../api/types';
import { auditLink, type Filters } from '../../lib/filters';

/** The outcomes of the chart; each check is in one of the first two, the others tell more of it. */
export const OUTCOMES = [
  { name: 'allow', label: 'Allowed', color: 'var(--sg-allow)' },
  { name: 'deny', label: 'Denied', color: 'var(--sg-deny)' },
  { name: 'unchecked', label: 'Unchecked', color: 'var(--sg-quiet)' },
] as const;

export interface Point {
  at: string;
  allow: number;
  deny: number;
  unchecked: number;
  would_deny: number;
  error: number;
  p50: number | null;
  p95: number | null;
  p99: number | null;
}

/** The timeline with a point for each bucket, the empty ones included. */
export function points(stats: Overview): Point[] {
  const step = stats.bucket_seconds * 1000;
  const known = new Map(stats.timeline.map((point) => [Date.parse(point.at), point]));
  const first = stats.timeline[0];
  if (!first || step <= 0) return [];
  // Buckets are aligned by the server: the grid is laid through one that it sent.
  const anchor = Date.parse(first.at);
  const start = anchor - Math.max(0, Math.floor((anchor - Date.parse(stats.since)) / step)) * step;
  const all: Point[] = [];
  for (let time = start; time < Date.parse(stats.until) && all.length < 1000; time += step) {
    const at = new Date(time).toISOString();
    const point = known.get(time);
    all.push({
      at,
      allow: point?.allow ?? 0,
      deny: point?.deny ?? 0,
      unchecked: point?.unchecked ?? 0,
      would_deny: point?.would_deny ?? 0,
      error: point?.error ?? 0,
      p50: point?.p50_us ?? null,
      p95: point?.p95_us ?? null,
      p99: point?.p99_us ?? null,
    });
  }
  return all;
}

/** The length of the time range in seconds. */
export function spanOf(stats: Overview): number {
  return (Date.parse(stats.until) - Date.parse(stats.since)) / 1000;
}

/** The audit list of one bucket, of one outcome where one was meant. */
export function bucketLink(stats: Overview, at: string, outcome: string | null): string {
  const until = new Date(Date.parse(at) + stats.bucket_seconds * 1000).toISOString();
  const filters: Filters =
    outcome === 'unchecked'
      ? { unchecked: 'true' }
      : outcome === 'allow' || outcome === 'deny'
        ? { decision: outcome }
        : {};
  return auditLink(filters, { since: at, until });
}
