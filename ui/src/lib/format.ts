const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? '–' : whole.format(value);
}

/** For tiles and axes, where room is scarce: 12.3K. */
export function shortCount(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–';
  return Math.abs(value) < 10_000 ? whole.format(value) : compact.format(value);
}

export function usd(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–';
  const digits = value !== 0 && Math.abs(value) < 0.01 ? 4 : 2;
  return `$${value.toLocaleString('en', { minimumFractionDigits: 2, maximumFractionDigits: digits })}`;
}

/** A duration given in microseconds, in the unit that reads best. */
export function micros(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–';
  if (value < 1000) return `${Math.round(value)} µs`;
  if (value < 1_000_000) return `${trim(value / 1000)} ms`;
  return `${trim(value / 1_000_000)} s`;
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? whole.format(size) : trim(size)} ${units[unit]}`;
}

/** A share from 0 to 1 in percent, never rounded up to 100 where something is missing. */
export function percent(share: number | null | undefined): string {
  if (share === null || share === undefined) return '–';
  if (share >= 1) return '100%';
  return `${(Math.floor(share * 1000) / 10).toFixed(1)}%`;
}

export function seconds(value: number): string {
  const steps: [number, string][] = [
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'min'],
  ];
  for (const [size, unit] of steps) {
    if (value >= size) return `${trim(value / size)} ${unit}`;
  }
  return `${trim(value)} s`;
}

/** `budget_exceeded` as people would say it. */
export function words(identifier: string): string {
  const text = identifier.replaceAll(/[_-]+/g, ' ').trim();
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function plural(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`;
}

function trim(value: number): string {
  return value >= 100 ? whole.format(value) : String(Number(value.toFixed(value >= 10 ? 1 : 2)));
}
