import type { ScopedVars } from '@grafana/data';
import { getTemplateSrv } from '@grafana/runtime';
import { escapeRegExp } from 'lodash';

/** The text with values in place of variables. */
export const replaced = (text: string, scopedVars: ScopedVars) => getTemplateSrv().replace(text, scopedVars, inPromQL);

/** A variable's value within a quoted text: several values as a regular expression for any of them. */
export function inPromQL(value: string | string[]): string {
  const quoted = (text: string) => text.replace(/[\\"]/g, '\\$&');
  return Array.isArray(value) ? `(${value.map((v) => quoted(escapeRegExp(v))).join('|')})` : quoted(value);
}

/** What the back end expands, because it depends on the step and the range, and alert rules have no front end. */
export const LATER: ScopedVars = Object.fromEntries(
  ['__interval', '__interval_ms', '__rate_interval', '__rate_interval_ms', '__range', '__range_ms'].map((name) => [
    name,
    { text: `$${name}`, value: `$${name}` },
  ]),
);
