import { hasVariable } from '../interpolate';
import { SHAPES, type SignalQuery } from './query';

const MAX_LIMIT = 1e15;
const MIN_TICK = 10;
const MAX_TICK = 24 * 60 * 60 * 1000;

/** The query's fields as typed. */
export type Draft = Record<'shape' | 'lowerLimit' | 'upperLimit' | 'tickInterval' | 'legend', string>;

export function toDraft({
  shape,
  lowerLimit,
  upperLimit,
  tickInterval,
  legend = '',
}: Omit<SignalQuery, 'refId'>): Draft {
  return {
    shape: `${shape}`,
    lowerLimit: `${lowerLimit}`,
    upperLimit: `${upperLimit}`,
    tickInterval: `${tickInterval}`,
    legend,
  };
}

/** The query's fields as saved: numbers, or text that holds a variable. Only for a draft without invalid fields. */
export function toFields(draft: Draft) {
  const saved = (text: string) => (hasVariable(text) ? text.trim() : Number(text));
  return {
    shape: draft.shape.trim(),
    lowerLimit: saved(draft.lowerLimit),
    upperLimit: saved(draft.upperLimit),
    tickInterval: saved(draft.tickInterval),
    legend: draft.legend.trim() || undefined,
  };
}

/**
 * What is wrong with each invalid field, and what to do. Variables are left to the back end, which gets their values.
 */
export function invalidFields(draft: Draft): Partial<Draft> {
  const invalid: Partial<Draft> = {};
  if (!hasVariable(draft.shape) && !SHAPES.includes(draft.shape.trim())) {
    invalid.shape = `Shape: choose one of ${SHAPES.join(', ')}, or enter a variable`;
  }
  for (const [name, label] of [
    ['lowerLimit', 'Lower limit'],
    ['upperLimit', 'Upper limit'],
  ] as const) {
    if (!hasVariable(draft[name]) && !(Math.abs(toNumber(draft[name])) <= MAX_LIMIT)) {
      invalid[name] = `${label}: enter a number from -1e15 to 1e15, or a variable`;
    }
  }
  // If a limit is no number, it is NaN here and the comparison is false.
  if (toNumber(draft.lowerLimit) >= toNumber(draft.upperLimit)) {
    invalid.lowerLimit ??= 'Lower limit: enter a number below the upper limit';
  }
  const tick = toNumber(draft.tickInterval);
  if (!hasVariable(draft.tickInterval) && !(Number.isInteger(tick) && tick >= MIN_TICK && tick <= MAX_TICK)) {
    invalid.tickInterval = `Tick interval: enter a whole number from ${MIN_TICK} to ${MAX_TICK}, or a variable`;
  }
  return invalid;
}

/** NaN for a text that is no number. Number('') would be 0. */
const toNumber = (text: string) => (text.trim() === '' ? NaN : Number(text));
