import type { DataFrame, Field } from '@grafana/data';
import type { Terms } from './types';

/**
 * What a stream's buffer holds: exact rows, or a reason to doubt it.
 *
 * - `fields`: not the fields of an answer. The back end says in this way that it can no longer serve the path.
 * - `short`: the oldest rows are missing. They were dropped and will not come again.
 * - `hole`: a row between others is missing. It is mendable while the overlap that every join repeats reaches it.
 */
export interface Reading {
  rows?: DataFrame;
  doubt?: 'fields' | 'short' | 'hole';
  mendable?: boolean;
  /** The range needs a longer window than the stream has. */
  outgrown?: boolean;
}

/**
 * The rows that a range has as of now: those from a time on, or else those of a length up to the newest. The time itself
 * and both ends of the length are part of the range. All in milliseconds.
 */
export interface Wanted {
  from?: number;
  length: number;
  /** No rows after this time. */
  to?: number;
  /** How far before now the range begins. */
  reach: number;
}

/**
 * Reads the wanted rows, or the newest window of them, from a buffer in which rows repeat and go back: one row per time,
 * the last one wins, in order and without a gap. The result is a copy, because Grafana goes on writing to the buffer.
 *
 * A row's place follows from its time, so that nothing has to be sorted or searched.
 */
export function exact(buffer: DataFrame, refId: string, wanted?: Wanted): Reading {
  const time = buffer.fields[0];
  const terms = buffer.meta?.custom as Partial<Terms> | undefined;
  const { step = 0, window = 0, first = -Infinity } = terms ?? {};
  if (!time || step <= 0 || time.config.interval !== step) {
    return { doubt: 'fields' };
  }

  const times: number[] = time.values;
  let newest = -Infinity;
  for (const t of times) {
    newest = t > newest ? t : newest;
  }
  const { from, length: range, to = Infinity, reach } = wanted ?? { length: window, reach: window };
  const last = Math.min(newest, Math.floor(to / step) * step);
  const start = from === undefined ? Math.ceil((last - range) / step) * step : Math.ceil(from / step) * step;
  const oldest = Math.max(first, newest - window, start);
  const length = Math.max(0, Math.floor((last - oldest) / step) + 1);
  const outgrown = reach > window;

  const places = new Int32Array(length).fill(-1);
  for (let i = 0; i < times.length; i++) {
    const row = (times[i]! - oldest) / step;
    if (row >= 0 && row < length) {
      places[row] = i;
    }
  }
  const missing = places.indexOf(-1);
  if (missing === 0) {
    return { doubt: 'short', outgrown };
  }
  if (missing > 0) {
    const mendable = oldest + missing * step > newest - Math.max(10 * step, 10_000);
    return { doubt: 'hole', mendable, outgrown };
  }

  const begin = places[0] ?? 0;
  const inOrder = places.every((place, row) => place === begin + row);
  const fields = buffer.fields.map((field) => ({
    ...field,
    config: { ...field.config },
    values: inOrder ? field.values.slice(begin, begin + length) : pick(field.values, places),
    state: undefined,
  }));
  return { rows: { name: buffer.name, refId, meta: buffer.meta, fields, length }, outgrown };
}

function pick(values: unknown[], places: Int32Array): unknown[] {
  const picked = new Array<unknown>(places.length);
  for (let row = 0; row < places.length; row++) {
    picked[row] = values[places[row]!];
  }
  return picked;
}

/** What makes two fields the same series. */
export const identity = ({ name, type, labels, config }: Field) => ({ name, type, labels, config });
