import type { BaseQuery } from '../../types';

export const SHAPES = ['walk', 'sine', 'square', 'sawtooth', 'noise'];

/** A number that depends on a template variable is saved as text, such as `$upper`. */
export interface SignalQuery extends BaseQuery {
  shape?: string;
  lowerLimit?: number | string;
  upperLimit?: number | string;
  /** In milliseconds. */
  tickInterval?: number | string;
}

export const DEFAULT_QUERY = { withStreaming: true, shape: 'walk', lowerLimit: 0, upperLimit: 100, tickInterval: 1000 };
