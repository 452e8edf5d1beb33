import { DAY, formatDuration, formatSize, GIB, HOUR, MIB, MINUTE, parseDuration, parseSize } from './units';

describe('a duration', () => {
  it.each([
    ['500ms', 500],
    ['90 s', 90_000],
    ['1h 30m', HOUR + 30 * MINUTE],
    ['15d', 15 * DAY],
    ['2w', 14 * DAY],
    ['1y', 365 * DAY],
    ['0s', 0],
  ])('%s is %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(['', '15', 'd', '1.5h', '-1h', '1M', '1h x', '1e3s', 'h1'])('%j is none', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  it.each([
    [0, '0ms'],
    [250, '250ms'],
    [90_000, '1m 30s'],
    [15 * DAY, '15d'],
    [DAY + HOUR + MINUTE + 1001, '1d 1h 1m 1s 1ms'],
  ])('of %d ms is shown as %s, and read back', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
    expect(parseDuration(text)).toBe(ms);
  });
});

describe('a size', () => {
  it.each([
    ['10 GiB', 10 * GIB],
    ['10gib', 10 * GIB],
    ['1.5 MiB', 1.5 * MIB],
    ['10 GB', 1e10],
    ['7 B', 7],
  ])('%s is %d bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each(['', '10', 'GiB', '10 G', '-1 GiB', '1e3 B'])('%j is none', (text) => {
    expect(parseSize(text)).toBeUndefined();
  });

  it.each([
    [10 * GIB, '10 GiB'],
    [1.5 * MIB, '1.5 MiB'],
    [1e10, '10 GB'],
    [2 ** 50, '1 PiB'],
    [12_345_677, '12345677 B'],
    [0, '0 B'],
  ])('of %d bytes is shown as %s, and read back', (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
    expect(parseSize(text)).toBe(bytes);
  });
});
