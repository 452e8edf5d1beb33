import type { AdHocVariableFilter } from '@grafana/data';
import type { SyntaxNode, Tree } from '@lezer/common';
import { parser } from '@prometheus-io/lezer-promql';
import { escapeRegExp } from 'lodash';

/** A template variable in each of Grafana's notations, or one of its macros. Never reaches over the end of a text in quotes. */
const VARIABLE = /\$(\w+)|\$\{(\w+)(?:\.[^:^}"'`]+)?(?::[^}"'`]+)?\}|\[\[(\w+)(?::\w+)?\]\]/g;
const MACRO = /^__(?:interval|rate_interval|range)(_ms|_s)?$/;

/**
 * The expression with text of the same length and of the kind that is expected there instead of each variable, so that
 * it can be parsed and positions stay what they were.
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

export function variablesOf(text: string): Array<{ from: number; to: number }> {
  return [...text.matchAll(VARIABLE)].map(({ index, 0: variable }) => ({ from: index, to: index + variable.length }));
}

export function parse(expr: string): Tree {
  return parser.parse(mask(expr));
}

export function childrenOf(node: SyntaxNode): SyntaxNode[] {
  const children: SyntaxNode[] = [];
  for (let child = node.firstChild; child; child = child.nextSibling) {
    children.push(child);
  }
  return children;
}

/** Every node of the tree, from the outside in and in the order of the text. */
export function nodesOf(tree: Tree): SyntaxNode[] {
  const nodes: SyntaxNode[] = [];
  tree.iterate({ enter: ({ node }) => void nodes.push(node) });
  return nodes;
}

/** The parts of the expression that cannot be parsed. None if variables of the dashboard decide about that. */
export function syntaxErrors(expr: string): Array<{ from: number; to: number }> {
  if (!expr.trim() || hasVariables(expr)) {
    return [];
  }
  return nodesOf(parse(expr))
    .filter(({ type }) => type.isError)
    .map(({ from, to }) => ({ from, to }));
}

/** A text in quotes. */
export function quote(text: string): string {
  return `"${text.replace(/[\\"]/g, '\\$&').replace(/\n/g, '\\n')}"`;
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

/** A variable's value within a quoted text: several values as a regular expression for any of them. */
export function inPromQL(value: string | string[]): string {
  const quoted = (text: string) => text.replace(/[\\"]/g, '\\$&');
  return Array.isArray(value) ? `(${value.map((v) => quoted(escapeRegExp(v))).join('|')})` : quoted(value);
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
 * The matcher of a dashboard's filter. An operator that PromQL does not have stays as it is: the error of the query then
 * says so, where leaving the filter out would show too much.
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

/** The expression with the filters added to each of its selectors. One that cannot be parsed stays as it is. */
export function withFilters(expr: string, filters: AdHocVariableFilter[]): string {
  const nodes = filters.length ? nodesOf(parse(expr)) : [];
  if (nodes.some(({ type }) => type.isError)) {
    return expr;
  }
  const added = selector('', filters.map(matcherOf)).slice(1, -1);
  let out = expr;
  // From the end, so that positions stay true.
  for (const node of nodes.filter(({ name }) => name === 'VectorSelector').reverse()) {
    const matchers = node.getChild('LabelMatchers');
    const last = matchers?.lastChild;
    const at = last?.to ?? (matchers ? matchers.from + 1 : node.to);
    const insert = matchers ? (last ? `, ${added}` : added) : `{${added}}`;
    out = out.slice(0, at) + insert + out.slice(at);
  }
  return out;
}
