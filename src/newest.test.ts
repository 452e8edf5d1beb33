import { createDataFrame, FieldType } from '@grafana/data';
import { readFileSync } from 'fs';
import path from 'path';
import { newestOf } from './newest';

interface Case {
  name: string;
  legend?: string;
  times: number[];
  series: Array<{ name: string; labels: Record<string, string>; unit: string; values: Array<number | null> }>;
  columns: Array<{ name: string; displayName?: string; unit?: string; values: unknown[] }>;
}

/** The cases of the back end, which makes the same tables. */
const cases = JSON.parse(readFileSync(path.join(__dirname, '../pkg/plugin/testdata/newest.json'), 'utf8')) as Case[];

it.each(cases.map((c) => [c.name, c] as const))('%s', (_, { legend, times, series, columns }) => {
  const notices = [{ severity: 'warning' as const, text: 'a notice' }];
  const rows = createDataFrame({
    refId: 'A',
    meta: { notices },
    fields: series.length
      ? [
          { name: 'time', type: FieldType.time, values: times },
          ...series.map(({ name, labels, unit, values }) => ({
            name,
            labels,
            type: FieldType.number,
            config: unit ? { unit } : {},
            values,
          })),
        ]
      : [],
  });
  const table = newestOf(rows, legend);
  expect(
    table.fields.map(({ name, config, values }) => ({
      name,
      ...(config.displayNameFromDS && { displayName: config.displayNameFromDS }),
      ...(config.unit && { unit: config.unit }),
      values,
    })),
  ).toEqual(columns);
  expect(table).toMatchObject({
    refId: 'A',
    length: columns[0]?.values.length ?? 0,
    meta: { preferredVisualisationType: 'table', notices },
  });
});
