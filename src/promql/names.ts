import type { ScopedVars, TimeRange } from '@grafana/data';
import { getTemplateSrv } from '@grafana/runtime';
import { escapeRegExp } from 'lodash';
import type { DataSource } from '../datasource';
import { replaced } from './interpolation';
import { selector } from './text';

export interface Metric {
  name: string;
  /** As Prometheus names it, such as counter. Type, unit and help are empty if they are not known. */
  type: string;
  unit: string;
  help: string;
}

/** How many names are asked for at most. Where there are more, a search narrows them down. */
export const LIMIT = 1000;

/** The names that a data source with PromQL knows within a time range, by default the last hour. */
export class Names {
  constructor(
    private readonly datasource: Pick<DataSource, 'getResource'>,
    private readonly range?: TimeRange,
    private readonly scopedVars: ScopedVars = {},
  ) {}

  /** Metrics whose name has all words of the search in it, in any order and case. */
  metrics(search = '', match?: string): Promise<Metric[]> {
    const words = search.split(/\s+/).filter(Boolean);
    const matchers = words.map((word) => ({ label: '__name__', op: '=~', value: `(?i).*${escapeRegExp(word)}.*` }));
    return this.get('metrics', words.length ? selector('', matchers) : match);
  }

  /** Names of labels that the selected series have. Without a selector, of all series. */
  async labels(match?: string): Promise<string[]> {
    const labels = await this.get<string[]>('labels', match);
    return labels.filter((label) => label !== '__name__');
  }

  values(label: string, match?: string): Promise<string[]> {
    return this.get(`labels/${encodeURIComponent(this.interpolated(label))}/values`, match);
  }

  private get<T>(path: string, match?: string): Promise<T> {
    const from = this.range?.from.valueOf();
    const to = this.range?.to.valueOf();
    const params = { ...(from && to && { from, to }), limit: LIMIT, ...(match && { match: this.interpolated(match) }) };
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
