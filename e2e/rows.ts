import { isEqual } from 'lodash';

/** Rows of one query: times in Unix ms, and a value or null of each series at each of them. */
export interface Rows {
  refId: string;
  /** How far apart rows are, in ms. */
  step: number;
  times: number[];
  series: Array<{ name: string; values: Array<number | null> }>;
}

/** What /api/ds/query returns. */
export interface Answer {
  results: Record<string, { error?: string; frames?: Frame[] }>;
}

interface Frame {
  schema: { fields: Field[] };
  data: { values: Array<Array<number | null>>; entities?: Array<Entities | null> };
}

interface Field {
  name: string;
  labels?: Record<string, string>;
  config?: { interval?: number };
}

/** The indexes of the rows of a field whose values JSON cannot express. */
interface Entities {
  NaN?: number[];
  Inf?: number[];
  NegInf?: number[];
}

/** What makes two fields the same series. */
export const nameOf = ({ name, labels }: Field) => `${name} ${JSON.stringify(labels ?? {})}`;

/** The rows that an answer has for a query. Without a frame there are no times. */
export function answered(answer: Answer, refId: string): Rows {
  const { error, frames: [frame] = [] } = answer.results[refId] ?? {};
  if (error) {
    throw new Error(`${refId}: ${error}`);
  }
  const [time, ...fields] = frame?.schema.fields ?? [];
  const column = (i: number) => {
    const values = [...(frame?.data.values[i] ?? [])];
    const { NaN: nans = [], Inf = [], NegInf = [] } = frame?.data.entities?.[i] ?? {};
    nans.forEach((row) => (values[row] = NaN));
    Inf.forEach((row) => (values[row] = Infinity));
    NegInf.forEach((row) => (values[row] = -Infinity));
    return values;
  };
  return {
    refId,
    step: time?.config?.interval ?? 0,
    times: column(0) as number[],
    series: fields.map((field, i) => ({ name: nameOf(field), values: column(i + 1) })),
  };
}

/** What is wrong with rows, in words: a time that is missing, doubled, out of order, or has other values than it should. */
export function differences(shown: Rows, wanted: Rows): string[] {
  const found: string[] = [];
  const names = (rows: Rows) => rows.series.map(({ name }) => name);
  if (!isEqual(names(shown), names(wanted))) {
    return [`${shown.refId} has the series ${names(shown).join(', ')} and not ${names(wanted).join(', ')}`];
  }
  const at = (time: number) => `${shown.refId} at ${new Date(time).toISOString()}`;
  const row = (rows: Rows, i: number) => rows.series.map(({ values }) => values[i]);
  const places = new Map(wanted.times.map((time, i) => [time, i]));
  const seen = new Set<number>();
  shown.times.forEach((time, i) => {
    const place = places.get(time);
    if (i > 0 && time <= shown.times[i - 1]!) {
      found.push(`${at(time)}: ${seen.has(time) ? 'doubled' : 'out of order'}`);
    } else if (place === undefined) {
      found.push(`${at(time)}: a row that is not wanted`);
    } else if (!isEqual(row(shown, i), row(wanted, place))) {
      found.push(`${at(time)}: ${row(shown, i).join(', ')} and not ${row(wanted, place).join(', ')}`);
    }
    seen.add(time);
  });
  found.push(...wanted.times.filter((time) => !seen.has(time)).map((time) => `${at(time)}: missing`));
  return found;
}
