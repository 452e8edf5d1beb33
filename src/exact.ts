import type { DataFrame, Field } from '@grafana/data';
import type { Terms } from './types';

/**
 * What a stream's buffer holds: exact rows, or a reason to doubt it.
 *
 * - `fields`: not the fields of an answer. The back end says in this way that it can no longer serve the path.
 * - `short`: the oldest rows of the window are missing. They were dropped and will not come again.
 * - `hole`: a row between others is missing. It is mendable while the overlap that every join repeats reaches it.
 */
export interface Reading {
  rows?: DataFrame;
  doubt?: 'fields' | 'short' | 'hole';
  mendable?: boolean;
  /** The newest time that the buffer has. */
  newest: number;
  step: number;
}

/**
 * Reads the newest window of rows from a buffer in which rows repeat and go back: one row per time, the last one wins,
 * in order and without a gap. The result is a copy, because Grafana goes on writing to the buffer.
 *
 * A row's place follows from its time, so that nothing has to be sorted or searched.
 */
export function exact(buffer: DataFrame, refId: string): Reading {
  const time = buffer.fields[0];
  const terms = buffer.meta?.custom as Partial<Terms> | undefined;
  const { step = 0, window = 0, first = 0 } = terms ?? {};
  let newest = -Infinity;
  if (!time || step <= 0 || time.config.interval !== step) {
    return { doubt: 'fields', newest, step };
  }

  const times: number[] = time.values;
  for (const t of times) {
    newest = t > newest ? t : newest;
  }
  const oldest = Math.max(first, newest - window + step);
  const length = Math.max(0, Math.floor((newest - oldest) / step) + 1);

  const from = new Int32Array(length).fill(-1);
  for (let i = 0; i < times.length; i++) {
    const row = (times[i]! - oldest) / step;
    if (row >= 0) {
      from[row] = i;
    }
  }
  const missing = from.indexOf(-1);
  if (missing === 0) {
    return { doubt: 'short', newest, step };
  }
  if (missing > 0) {
    const mendable = oldest + missing * step > newest - Math.max(10 * step, 10_000);
    return { doubt: 'hole', mendable, newest, step };
  }

  const fields = buffer.fields.map((field) => {
    const values = new Array(length);
    for (let row = 0; row < length; row++) {
      values[row] = field.values[from[row]!];
    }
    return { ...field, config: { ...field.config }, values, state: undefined };
  });
  return { rows: { name: buffer.name, refId, meta: buffer.meta, fields, length }, newest, step };
}

/** What makes two fields the same series. */
export const identity = ({ name, type, labels, config }: Field) => ({ name, type, labels, config });
