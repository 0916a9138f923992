const clock = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hour12: false,
});
const full = new Intl.DateTimeFormat(undefined, {
  year: 'numeric',
  month: 'short',
  day: '2-digit',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hour12: false,
});
const short = new Intl.DateTimeFormat(undefined, {
  month: 'short',
  day: '2-digit',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hour12: false,
});
const minute = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  hour12: false,
});
const day = new Intl.DateTimeFormat(undefined, { month: 'short', day: '2-digit' });
const dayMinute = new Intl.DateTimeFormat(undefined, {
  month: 'short',
  day: '2-digit',
  hour: '2-digit',
  minute: '2-digit',
  hour12: false,
});

/** All in the viewer's own zone. */
export const format = { clock, full, short, minute, day, dayMinute };

/** The same instant in UTC, for the tooltip. */
export function utc(value: string): string {
  const date = new Date(value);
  if (Number.isNaN(date.getTime())) return value;
  return `${date.toISOString().replace('T', ' ').replace(/Z$/, '')} UTC`;
}

const UNITS: [number, Intl.RelativeTimeFormatUnit][] = [
  [86_400, 'day'],
  [3600, 'hour'],
  [60, 'minute'],
];
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'short' });

export function ago(value: string, now = Date.now()): string {
  const passed = (now - Date.parse(value)) / 1000;
  if (Number.isNaN(passed)) return value;
  for (const [size, unit] of UNITS) {
    if (Math.abs(passed) >= size) return relative.format(-Math.round(passed / size), unit);
  }
  return Math.abs(passed) < 5 ? 'now' : relative.format(-Math.round(passed), 'second');
}

/** A label for a chart's axis, as fine as the span asks for. */
export function tick(value: string, spanSeconds: number): string {
  const date = new Date(value);
  if (spanSeconds <= 2 * 86_400) return format.minute.format(date);
  return spanSeconds <= 8 * 86_400 ? format.dayMinute.format(date) : format.day.format(date);
}
