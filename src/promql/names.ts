import type { ScopedVars, TimeRange } from '@grafana/data';
import { getTemplateSrv } from '@grafana/runtime';
import type { DataSource } from '../datasource';
import { replaced } from './interpolation';

export interface Metric {
  name: string;
  /** As Prometheus names it, such as counter. Type, unit and help are empty if they are not known. */
  type: string;
  unit: string;
  help: string;
}

/** How many names a list has at most. If there are more, a search finds the others. */
export const LIMIT = 1000;

/** The longest list that the back end gives, which is 10,000 with `__name__`. */
export const MOST = 9_999;

/** What a list says that has the first of more names, and how to get at the others. */
export const cutAt = (limit: number, others = 'Type to find others.') =>
  `The first ${limit.toLocaleString('en')}. ${others}`;

/**
 * The names that a data source with PromQL knows within a time range, by default the last hour. With a search, only
 * names that have all of its words in them, in any order and case.
 */
export class Names {
  constructor(
    private readonly datasource: Pick<DataSource, 'getResource'>,
    private readonly range?: TimeRange,
    private readonly scopedVars: ScopedVars = {},
    private readonly limit = LIMIT,
  ) {}

  /** Of all metrics, or of those of the selected series. */
  metrics(match?: string, search?: string): Promise<Metric[]> {
    return this.get('metrics', match, search);
  }

  /** Names of labels that the selected series have. Without a selector, of all series. */
  async labels(match?: string, search?: string): Promise<string[]> {
    const labels = await this.get<string[]>('labels', match, search, this.limit + 1);
    return labels.filter((label) => label !== '__name__').slice(0, this.limit);
  }

  values(label: string, match?: string, search?: string): Promise<string[]> {
    return this.get(`labels/${encodeURIComponent(this.interpolated(label))}/values`, match, search);
  }

  private get<T>(path: string, match?: string, search?: string, limit = this.limit): Promise<T> {
    const from = this.range?.from.valueOf();
    const to = this.range?.to.valueOf();
    const params = {
      ...(from && to && { from, to }),
      limit,
      ...(match && { match: this.interpolated(match) }),
      ...(search?.trim() && { search: search.trim() }),
    };
    return this.datasource.getResource<T>(path, params, { showErrorAlert: false });
  }

  private interpolated(text: string): string {
    return replaced(text, this.scopedVars);
  }
}

/** The dashboard's variables that have values, as they are written in a query. */
export const variableNames = () =>
  getTemplateSrv()
    .getVariables()
    .filter(({ type }) => type !== 'adhoc' && type !== 'groupby')
    .map(({ name }) => `$${name}`);
