import type { AdHocVariableFilter, DataSourceApi, DataSourceGetTagKeysOptions, MetricFindValue } from '@grafana/data';
import type { DataQuery } from '@grafana/schema';
import { lazily } from '../components/lazily';
import type { Source } from '../sources/source';
import { filtered, loadFilters } from './filters';
import { LATER, replaced } from './interpolation';
import { cutAt, MOST, Names } from './names';
import type { PromQLQuery } from './query';
import { matcherOf, selector } from './text';
import { Variables } from './variables';

export type { PromQLQuery } from './query';

/** What all sources that are queried in PromQL have in common. */
export const promQL = {
  key: 'expr',
  isComplete: ({ expr }) => Boolean(expr?.trim()),
  text: ({ expr = '' }) => expr,
  interpolate: (query, { scopedVars, filters }) => {
    const expr = replaced(query.expr ?? '', { ...scopedVars, ...LATER });
    const stateLabel = query.stateLabel && replaced(query.stateLabel, scopedVars);
    return { ...query, expr: filtered(expr, filters), ...(stateLabel && { stateLabel }) };
  },
  load: ({ filters = [] }) => (filters.length ? loadFilters() : undefined),
  offers: (datasource) => ({
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- one class of the union
    variables: new Variables(datasource),
    getTagKeys: async ({ filters, timeRange }: Partial<DataSourceGetTagKeysOptions> = {}) =>
      asTags(await new Names(datasource, timeRange, {}, MOST).labels(selectorOf(filters))),
    getTagValues: async ({ key, filters, timeRange }) => {
      const others = filters.filter((filter) => filter.key !== key);
      return asTags(await new Names(datasource, timeRange, {}, MOST).values(key, selectorOf(others)));
    },
    importQueries: (queries, origin) => Promise.resolve(fromPrometheus(queries, origin)),
  }),
  QueryEditor: lazily(async () => (await import('./PromQLEditor')).PromQLEditor),
  Help: lazily(async () => (await import('./Help')).Help),
} satisfies Partial<Source<PromQLQuery, object>>;

/** What filters can be chosen from. Grafana does not pass on what is typed, so a list that was cut only says so. */
function asTags(texts: string[]): MetricFindValue[] {
  const group = texts.length < MOST ? undefined : cutAt(MOST, 'Others can be typed in full.');
  return texts.map((text) => ({ text, ...(group && { group }) }));
}

const selectorOf = (filters: AdHocVariableFilter[] = []) => selector('', filters.map(matcherOf)) || undefined;

/** Converts queries of Grafana's Prometheus data source, and of similar data sources, to ours. */
function fromPrometheus(queries: DataQuery[], { type }: DataSourceApi): PromQLQuery[] {
  return /prometheus|victoriametrics-(metrics-)?datasource|mimir/i.test(type)
    ? queries.map((query) => {
        const { refId, hide, expr, legendFormat } = query as DataQuery & { expr?: string; legendFormat?: string };
        const legend = legendFormat === '__auto' ? undefined : legendFormat;
        return { refId, hide, withStreaming: true, expr: expr ?? '', ...(legend && { legend }) };
      })
    : [];
}
