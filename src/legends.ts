import type { DataFrame, DataQueryResponse } from '@grafana/data';
import type { Query } from './types';

/**
 * Tells apart the series of several queries that have the same name: the refId follows it, as in `boiler (B)`. A name by
 * a legend stays as somebody wrote it.
 *
 * The back end names the series of one query by what they differ in, and does not see the other queries of a panel.
 */
export function apart(targets: Query[]): (answer: DataQueryResponse) => DataQueryResponse {
  const unnamed = new Set(targets.filter(({ legend }) => !legend).map(({ refId }) => refId));
  if (targets.length < 2 || unnamed.size === 0) {
    return (answer) => answer;
  }
  return (answer) => {
    const owners = new Map<string, string>();
    const shared = new Set<string>();
    const frames = answer.data as DataFrame[];
    for (const { refId = '', fields } of frames) {
      for (const { config } of fields) {
        const name = config.displayNameFromDS;
        if (name && (owners.get(name) ?? refId) !== refId) {
          shared.add(name);
        } else if (name) {
          owners.set(name, refId);
        }
      }
    }
    if (shared.size === 0) {
      return answer;
    }
    const named = (frame: DataFrame): DataFrame => ({
      ...frame,
      fields: frame.fields.map((field) => {
        const { displayNameFromDS: name } = field.config;
        return name && shared.has(name)
          ? { ...field, config: { ...field.config, displayNameFromDS: `${name} (${frame.refId})` } }
          : field;
      }),
    });
    return {
      ...answer,
      data: frames.map((frame) => (unnamed.has(frame.refId ?? '') ? named(frame) : frame)),
    };
  };
}
