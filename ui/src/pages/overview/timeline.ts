import type { Overview } from '../../api/types';
import { auditLink, type Filters } from '../../lib/filters';

/** A number of decisions that a chart shows. */
export interface Counted {
  name: 'allow' | 'deny' | 'would_deny' | 'unchecked' | 'error';
  label: string;
  color: string;
}

/** Each decision is one of these. */
export const OUTCOMES: Counted[] = [
  { name: 'allow', label: 'Allowed', color: 'var(--sg-allow)' },
  { name: 'deny', label: 'Denied', color: 'var(--sg-deny)' },
];

/** What is true of a decision besides; nothing of it is the normal case. */
export const REMARKS: Counted[] = [
  { name: 'would_deny', label: 'Would deny', color: 'var(--sg-shadow)' },
  { name: 'unchecked', label: 'Unchecked', color: 'var(--sg-quiet)' },
  { name: 'error', label: 'Errors', color: 'var(--sg-error)' },
];

const FILTERS: Record<Counted['name'], Filters> = {
  allow: { decision: 'allow' },
  deny: { decision: 'deny' },
  would_deny: { shadow: 'true' },
  unchecked: { unchecked: 'true' },
  error: { error: 'true' },
};

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

/** The audit list of one bucket: of what one of its numbers counts, or all of it. */
export function bucketLink(stats: Overview, at: string, name: string | null): string {
  const until = new Date(Date.parse(at) + stats.bucket_seconds * 1000).toISOString();
  const filters = name !== null && name in FILTERS ? FILTERS[name as Counted['name']] : {};
  return auditLink(filters, { since: at, until });
}
