import type { AdHocVariableFilter } from '@grafana/data';
import { escapeRegExp } from 'lodash';

/**
 * Matches a template variable in any of Grafana's notations, or a macro. A match never goes beyond the end of a string.
 */
const VARIABLE = /\$(\w+)|\$\{(\w+)(?:\.[^:^}"'`]+)?(?::[^}"'`]+)?\}|\[\[(\w+)(?::\w+)?\]\]/g;
const MACRO = /^__(?:interval|rate_interval|range)(_ms|_s)?$/;

/**
 * The expression with each variable replaced by a text of the same length and of the kind that is expected there. So it
 * can be parsed, and positions stay the same.
 */
export function mask(expr: string): string {
  return expr.replace(VARIABLE, (text: string, ...rest: unknown[]) => {
    const offset = rest.find((part) => typeof part === 'number') ?? 0;
    const name = rest.find((part) => typeof part === 'string') ?? '';
    const [isMacro, unit] = MACRO.exec(name) ?? [];
    const before = expr.slice(0, offset).trimEnd();
    const inDuration = /[[:]$|\boffset\s*-?$/i.test(before);
    if (
      (isMacro && unit) ||
      before.endsWith('@') ||
      (inDuration && /^[smhdwy]/.test(expr.slice(offset + text.length)))
    ) {
      return '1'.padStart(text.length, '0');
    }
    return isMacro || inDuration ? '1s'.padStart(text.length, '0') : text.replace(/\W/g, '_');
  });
}

/** Whether the text is one variable or macro, and nothing else. */
export function isVariable(text: string): boolean {
  return new RegExp(`^(?:${VARIABLE.source})$`).test(text.trim());
}

/** Whether the text has variables of the dashboard, so that only their values decide what it means. */
export function hasVariables(text: string): boolean {
  return [...text.matchAll(VARIABLE)].some(([, ...names]) => !MACRO.test(names.find(Boolean) ?? ''));
}

/** A text in quotes. */
export function quote(text: string, mark = '"'): string {
  const escaped = text.replace(/\\/g, '\\\\').replaceAll(mark, `\\${mark}`).replace(/\n/g, '\\n');
  return mark + (mark === '`' ? text : escaped) + mark;
}

const ESCAPES: Record<string, string> = { a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };

/** The text within quotes of any kind; undefined if it has escapes that are not among the usual ones. */
export function unquote(literal: string): string | undefined {
  const mark = literal.charAt(0);
  const inner = literal.slice(1, -1);
  if (literal.length < 2 || !literal.endsWith(mark)) {
    return undefined;
  }
  if (mark === '`') {
    return inner;
  }
  const escape = /\\(x[0-9a-f]{2}|u[0-9a-f]{4}|[abfnrtv\\"'])/gi;
  if (inner.replace(escape, '').includes('\\')) {
    return undefined;
  }
  return inner.replace(escape, (_, code: string) =>
    code.length > 1 ? String.fromCharCode(parseInt(code.slice(1), 16)) : (ESCAPES[code] ?? code),
  );
}

/**
 * Something of a regular expression as it is written in quotes: an escaped character, the beginning of a group, or any
 * other character. In all quotes but backticks, a backslash is written as two.
 */
const REGEXP_TOKEN = /\\\\(?:\\.|[^\\])?|\\.|\((?:\?\w*:)?|./gs;
const PLAIN_REGEXP_TOKEN = /\\.?|\((?:\?\w*:)?|./gs;

/** The alternative at a position in a regular expression, which is the text between quotes: up to | or a parenthesis. */
export function alternativeAt(text: string, pos: number, mark: string): { from: number; to: number } {
  let [from, to] = [0, text.length];
  let isClass = false;
  for (const { 0: token, index } of text.matchAll(mark === '`' ? PLAIN_REGEXP_TOKEN : REGEXP_TOKEN)) {
    if (token === '[' || token === ']') {
      isClass = token === '[';
    } else if (!isClass && /^[|()]/.test(token)) {
      if (index >= pos) {
        to = index;
        break;
      }
      from = index + token.length;
    }
  }
  return { from: Math.min(from, pos), to };
}

const LABEL = /^[a-zA-Z_]\w*$/;
const METRIC = /^[a-zA-Z_:][\w:]*$/;

/** A label's name as it is written, in quotes if need be. */
export const labelName = (name: string) => (LABEL.test(mask(name)) ? name : quote(name));

export interface Matcher {
  label: string;
  op: string;
  value: string;
}

/** A selector of series. */
export function selector(metric: string, matchers: Matcher[]): string {
  const plain = METRIC.test(mask(metric));
  const parts = matchers.map(({ label, op, value }) => `${labelName(label)}${op}${quote(value)}`);
  if (metric && !plain) {
    parts.unshift(quote(metric));
  }
  return (plain ? metric : '') + (parts.length ? `{${parts.join(', ')}}` : '');
}

/**
 * The matcher of a dashboard's filter. An operator that PromQL does not have is kept, so that the query fails with an
 * error: without the filter, it would show too much.
 */
export function matcherOf({ key, operator, value, values = [] }: AdHocVariableFilter): Matcher {
  const anyOf = (values.length ? values : [value]).map((v) => escapeRegExp(v)).join('|');
  switch (operator) {
    case '=|':
      return { label: key, op: '=~', value: anyOf };
    case '!=|':
      return { label: key, op: '!~', value: anyOf };
    default:
      return { label: key, op: operator, value };
  }
}
