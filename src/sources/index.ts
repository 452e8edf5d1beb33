import type { BaseQuery, Options } from '../types';
import * as all from './all';
import type { Source } from './source';

/** A source whose types of queries and settings are not known. Its functions must only get its own queries. */
export type AnySource = Source<BaseQuery, object>;

/** The source of a data source whose settings name none. */
const DEFAULT = 'recorder';

/** All sources, the default one first. */
export const SOURCES = (Object.values(all) as unknown as AnySource[]).sort(
  (a, b) => Number(b.name === DEFAULT) - Number(a.name === DEFAULT),
);

/** The source that the settings name. */
export function sourceOf({ source = DEFAULT }: Options): AnySource {
  const found = SOURCES.find(({ name }) => name === source) ?? SOURCES[0];
  if (!found) {
    throw new Error('Continuum was built without a source');
  }
  return found;
}

/** Whether the source's queries have the format `states`. */
export const hasStates = ({ key }: AnySource) => (key as string) === 'expr';

/**
 * The source that a query was made for, if this one cannot answer it. Sources with the same query language answer each
 * other's queries.
 */
export function foreignTo(source: AnySource, query: BaseQuery): AnySource | undefined {
  return source.key in query ? undefined : SOURCES.find(({ key }) => key in query);
}
