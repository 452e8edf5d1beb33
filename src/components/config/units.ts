import { rangeUtil } from '@grafana/data';

/** Milliseconds. */
export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** Bytes. */
export const MIB = 2 ** 20;
export const GIB = 2 ** 30;
export const PIB = 2 ** 50;

/** Other names of the units, as people type them. */
const NAMES: Array<[RegExp, string]> = [
  [/(milliseconds?|millis|msecs?)/, 'ms'],
  [/(seconds?|secs?)/, 's'],
  [/(minutes?|mins?)/, 'm'],
  [/(hours?|hrs?)/, 'h'],
  [/(days?)/, 'd'],
  [/(weeks?)/, 'w'],
  [/(years?)/, 'y'],
];

/** The milliseconds of a text such as `15d`, `500 ms`, `1h 30m` or `15 minutes`; undefined if it is none. */
export function parseDuration(text: string): number | undefined {
  const parts = NAMES.reduce((short, [name, unit]) => short.replaceAll(new RegExp(name, 'gi'), unit), text)
    .replace(/\s/g, '')
    .match(/^(\d+(ms|[smhdwy]))+$/)?.[0]
    .match(/\d+[a-z]+/g);
  return parts?.reduce((sum, part) => sum + rangeUtil.intervalToMs(part), 0);
}

/** The shortest text that `parseDuration` turns into these milliseconds again. */
export function formatDuration(ms: number): string {
  let rest = ms;
  const parts: string[] = [];
  for (const [name, unit] of [
    ['d', DAY],
    ['h', HOUR],
    ['m', MINUTE],
    ['s', SECOND],
    ['ms', 1],
  ] as const) {
    const count = Math.floor(rest / unit);
    rest -= count * unit;
    if (count > 0) {
      parts.push(`${count}${name}`);
    }
  }
  return parts.join(' ') || '0ms';
}

const SIZES: Array<[name: string, bytes: number]> = [
  ['PiB', 2 ** 50],
  ['PB', 1e15],
  ['TiB', 2 ** 40],
  ['TB', 1e12],
  ['GiB', 2 ** 30],
  ['GB', 1e9],
  ['MiB', 2 ** 20],
  ['MB', 1e6],
  ['KiB', 2 ** 10],
  ['kB', 1e3],
  ['B', 1],
];

/** The bytes of a text such as `10 GiB` (powers of 1024) or `10 GB` (of 1000); undefined if it is none. */
export function parseSize(text: string): number | undefined {
  const [, count, unit = ''] = /^(\d+(?:\.\d+)?)\s*([a-z]+)$/i.exec(text.trim()) ?? [];
  const size = SIZES.find(([name]) => name.toLowerCase() === unit.toLowerCase());
  return size && Math.round(Number(count) * size[1]);
}

/** A text that `parseSize` turns into these bytes again. */
export function formatSize(bytes: number): string {
  const [name, size] = SIZES.find(([, s]) => bytes >= s && Number.isInteger((bytes / s) * 100)) ?? ['B', 1];
  return `${bytes / size} ${name}`;
}
