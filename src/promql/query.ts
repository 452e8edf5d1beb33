import type { BaseQuery } from '../types';

export type EditorMode = 'builder' | 'code';

export interface PromQLQuery extends BaseQuery {
  expr?: string;
  /** How the expression is edited. By default in the builder, if the builder can show it. */
  editorMode?: EditorMode;
  /** The label that has the states of the format `states`, by default the one that is called as the metric is. */
  stateLabel?: string;
}
