import { DataFrame, Field, FieldType } from '@grafana/data';

const TIME = 'Time';
const VALUE = 'Value';

/**
 * One row per series that has a value: the time of the newest one, the labels, and the value, in a column that is shown
 * under the legend if that is the same for all series. The back end makes the same table of what is not streamed.
 */
export function newestOf(frame: DataFrame, legend = ''): DataFrame {
  const [time, ...series] = frame.fields;
  const newest = series.map(({ values }) => values.findLastIndex((value) => value !== null && value !== undefined));
  const kept = series.map((field, i) => ({ field, row: newest[i]! })).filter(({ row }) => row >= 0);
  const meta = { ...frame.meta, type: undefined, preferredVisualisationType: 'table' as const };
  if (!time || kept.length === 0) {
    return { ...frame, meta, fields: [], length: 0 };
  }
  const column = (name: string, type: FieldType, values: unknown[], config: Field['config'] = {}): Field => ({
    name,
    type,
    config,
    values,
  });
  const labels = [...new Set(series.flatMap(({ labels }) => Object.keys(labels ?? {})))].sort(byCodePoints);
  const units = new Set(kept.map(({ field }) => field.config.unit));
  const fields = [
    column(
      TIME,
      FieldType.time,
      kept.map(({ row }) => time.values[row]),
    ),
    ...labels.map((label) =>
      column(
        label === TIME || label === VALUE ? `${label} (label)` : label,
        FieldType.string,
        kept.map(({ field }) => field.labels?.[label] ?? ''),
      ),
    ),
    column(
      VALUE,
      FieldType.number,
      kept.map(({ field, row }) => field.values[row]),
      {
        ...(legend && !PLACEHOLDER.test(legend) && { displayNameFromDS: legend }),
        ...(units.size === 1 && { unit: kept[0]!.field.config.unit }),
      },
    ),
  ];
  return { name: frame.name, refId: frame.refId, meta, fields, length: kept.length };
}

/** A label in a legend. */
const PLACEHOLDER = /\{\{\s*[^{}\s]+\s*\}\}/;

/** As the back end sorts. */
const byCodePoints = (a: string, b: string) => (a < b ? -1 : 1);
