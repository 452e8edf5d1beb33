import type { ScopedVars } from '@grafana/data';
import { getTemplateSrv } from '@grafana/runtime';

/** The text with values in place of variables. */
export const replaced = (text: string, scopedVars: ScopedVars) => getTemplateSrv().replace(text, scopedVars, inPromQL);

/**
 * A variable's value as Grafana's own Prometheus data source writes it (with its feature for quotes in values). A
 * variable that can have several values is used in regular expressions, so each value is escaped for one.
 */
export function inPromQL(value: unknown, variable: Partial<{ multi: boolean; includeAll: boolean }> = {}): string {
  const values = (Array.isArray(value) ? value : [value]).map(String);
  if (!variable.multi && !variable.includeAll) {
    return values.map((one) => (MATCHER.test(one) ? one : one.replace(/[\\"]/g, '\\$&'))).join(',');
  }
  return values.length === 1 ? inRegExp(values[0]!) : `(${values.map(inRegExp).join('|')})`;
}

/** A whole matcher, such as job="api", which keeps its quotes. */
const MATCHER = /^\w+(=|!=|=~|!~)".*"$/;

/** Escapes a text for a regular expression in double quotes. */
const inRegExp = (text: string) =>
  text
    .replace(/\\/g, '\\\\\\\\')
    .replace(/"/g, '\\\\\\"')
    .replace(/[$^*{}[\]'+?.()|]/g, '\\\\$&');

/**
 * Macros that are left to the back end, because they depend on the step and the range, and because alert rules have no
 * front end.
 */
export const LATER: ScopedVars = Object.fromEntries(
  ['__interval', '__interval_ms', '__rate_interval', '__rate_interval_ms', '__range', '__range_ms'].map((name) => [
    name,
    { text: `$${name}`, value: `$${name}` },
  ]),
);
