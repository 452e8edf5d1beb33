import type { AdHocVariableFilter, DataQueryRequest, DataSourceApi, QueryEditorProps, ScopedVars } from '@grafana/data';
import type { FunctionComponent } from 'react';
import type { PartProps } from '../components/config/settings';
import type { DataSource } from '../datasource';
import type { BaseQuery, Options, Query } from '../types';

/**
 * Everything that differs from source to source. Editors and settings are large and seldom needed, so they are loaded
 * when they are first shown (see `lazily`).
 *
 * @typeParam Q - its queries as they are saved
 * @typeParam O - its own part of the settings, which is there whatever the source is
 */
export interface Source<Q extends BaseQuery, O extends object> {
  /** The name in the settings and in the back end. */
  name: string;
  /** The name on the settings page. */
  label: string;
  description: string;
  /** The page of the documentation about it. */
  docs: string;

  defaultQuery: (options: Options & O) => Partial<Q>;
  /**
   * A field that every query of the source has, and by which its queries are recognised. Sources with the same query
   * language share it.
   */
  key: keyof Q & string;
  /** Whether the query can be run. */
  isComplete: (query: Q) => boolean;
  /** The query in a line. */
  text: (query: Q) => string;
  /** The query with values in place of variables, and with the dashboard's filters. */
  interpolate: (query: Q, values: Values) => Q;
  /** What has to be loaded before the queries of a request can be interpolated. */
  load?: (request: DataQueryRequest<Q>) => Promise<unknown> | undefined;
  /** Further features that its data sources offer Grafana. */
  offers?: (datasource: DataSource) => Partial<Offers>;

  /** How far apart samples usually are, in milliseconds. */
  sampleInterval?: (options: Options & O) => number;
  /** How long the source may take for an answer, in milliseconds, if that is not the HTTP timeout. */
  timeout?: (options: Options & O) => number | undefined;

  QueryEditor: FunctionComponent<EditorProps<Q>>;
  /** The first part of the help beside the editor. Absent if the editor needs no help. */
  Help?: FunctionComponent<HelpProps<Q>>;
  /** Absent if there is nothing to set. */
  Settings?: FunctionComponent<SettingsProps>;
}

/** Methods of a data source whose presence tells Grafana that the feature is there. */
type Offers = Pick<DataSourceApi<BaseQuery>, 'variables' | 'getTagKeys' | 'getTagValues' | 'importQueries'>;

/** What Grafana gives an editor of queries, for those of one source. */
export type EditorProps<Q> = Pick<
  QueryEditorProps<DataSource, Query, Options>,
  'datasource' | 'onRunQuery' | 'app' | 'range' | 'data'
> & { query: Q; onChange: (query: Q) => void };

export interface HelpProps<Q> {
  query: Q;
  text: (query: Q) => string;
  onClickExample: (query: Q) => void;
}

/** A query to begin with. */
export interface Recipe<Q> {
  title: string;
  why: string;
  query: Partial<Q>;
}

/** What a query is interpolated with. */
export interface Values {
  /** The text with values in place of variables. */
  text: (text: string) => string;
  scopedVars: ScopedVars;
  filters: AdHocVariableFilter[];
}

export interface SettingsProps extends PartProps {
  /** Whether the data source has been saved with this source, so that it can be asked. */
  saved: boolean;
}
