/** A span of time: one that moves along with the clock, or one with two ends. */
export type TimeRange =
  { kind: 'last'; seconds: number } | { kind: 'between'; since: string; until: string };

export const RANGES: { value: string; seconds: number; label: string }[] = [
  { value: '15m', seconds: 900, label: 'Last 15 minutes' },
  { value: '1h', seconds: 3600, label: 'Last hour' },
  { value: '6h', seconds: 21_600, label: 'Last 6 hours' },
  { value: '24h', seconds: 86_400, label: 'Last 24 hours' },
  { value: '7d', seconds: 604_800, label: 'Last 7 days' },
  { value: '30d', seconds: 2_592_000, label: 'Last 30 days' },
];

/** The range that a page's URL asks for: `range=6h`, or `since` with `until`. */
export function rangeOf(search: URLSearchParams, fallback: string): TimeRange {
  const since = search.get('since');
  if (since && isTime(since)) {
    const until = search.get('until');
    return { kind: 'between', since, until: until && isTime(until) ? until : '' };
  }
  const wanted = search.get('range') ?? fallback;
  const found = RANGES.find((range) => range.value === wanted) ?? RANGES[1];
  return { kind: 'last', seconds: found?.seconds ?? 3600 };
}

export function withRange(search: URLSearchParams, range: TimeRange): URLSearchParams {
  const next = new URLSearchParams(search);
  for (const key of ['since', 'until', 'range']) next.delete(key);
  if (range.kind === 'between') {
    next.set('since', range.since);
    if (range.until) next.set('until', range.until);
  } else {
    const named = RANGES.find((known) => known.seconds === range.seconds);
    next.set('range', named?.value ?? '1h');
  }
  return next;
}

/** The two ends for a request made now; an open end is left out. */
export function resolve(range: TimeRange, now = Date.now()): { since?: string; until?: string } {
  if (range.kind === 'last') return { since: new Date(now - range.seconds * 1000).toISOString() };
  return range.until ? { since: range.since, until: range.until } : { since: range.since };
}

function isTime(text: string): boolean {
  return !Number.isNaN(Date.parse(text));
}
