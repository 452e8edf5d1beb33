import type { SyntaxNode } from '@lezer/common';
import { isVariable, labelName, selector, unquote } from './text';
import { childrenOf, nameOf, nodesOf, parse, readSelector, textOf } from './tree';
import { FUNCTIONS } from './functions';

export const MATCH_OPERATORS = ['=', '!=', '=~', '!~'] as const;
export const CALCULATIONS: readonly string[] = ['+', '-', '*', '/', '%', '^', '>', '>=', '<', '<=', '==', '!='];

/** A filter is left out of the expression while it has no label or no value. */
export interface Filter {
  label?: string;
  op: string;
  value?: string;
}

export type Operation =
  /** A function over a range. It can only be the first operation. */
  | { kind: 'range'; name: string; range: string; params: string[] }
  | { kind: 'instant'; name: string; params: string[] }
  | { kind: 'aggregation'; name: string; params: string[]; grouping?: 'by' | 'without'; labels: string[] }
  /** A calculation or comparison with a number on its right. */
  | { kind: 'calculation'; name: string; number: string };

/** An expression as the builder shows it: a selector, and the operations on it, one after the other. */
export interface Visual {
  metric: string;
  filters: Filter[];
  operations: Operation[];
}

export const EMPTY: Visual = { metric: '', filters: [], operations: [] };

/** The expression; empty while nothing is selected. */
export function toExpr({ metric, filters, operations }: Visual): string {
  const matchers = filters.flatMap(({ label, op, value }) =>
    label !== undefined && value !== undefined ? [{ label, op, value }] : [],
  );
  const selected = selector(metric, matchers);
  return selected && operations.reduce(apply, selected);
}

function apply(inner: string, operation: Operation, i: number, operations: Operation[]): string {
  switch (operation.kind) {
    case 'range':
      return call(operation.name, operation.params, `${inner}[${operation.range}]`);
    case 'instant':
      return call(operation.name, operation.params, inner);
    case 'aggregation': {
      const labels = operation.labels.map(labelName).join(', ');
      const grouping = operation.grouping ? ` ${operation.grouping} (${labels}) ` : '';
      return call(operation.name + grouping, operation.params, inner);
    }
    case 'calculation': {
      const first = operations[i - 1]?.kind === 'calculation' ? `(${inner})` : inner;
      return `${first} ${operation.name} ${operation.number}`;
    }
  }
}

function call(name: string, params: string[], series: string): string {
  const { before = 0 } = FUNCTIONS[name.split(' ')[0]!] ?? {};
  const args = [...params.slice(0, before), series, ...params.slice(before)].filter(Boolean);
  return `${name}(${args.join(', ')})`;
}

/**
 * An expression as the builder shows it; undefined if the builder cannot show all of it. So nothing is lost by
 * switching from code to the builder: the resulting expression means the same, though parentheses and white space may
 * differ.
 */
export function toVisual(expr: string): Visual | undefined {
  if (!expr.trim()) {
    return EMPTY;
  }
  const [root, ...rest] = childrenOf(parse(expr).topNode);
  const visual = root && !rest.length ? read(root, expr) : undefined;
  return visual && isEquivalent(toExpr(visual), expr) ? visual : undefined;
}

/** Whether two expressions are the same but for parentheses that change nothing, white space and the kind of quotes. */
export function isEquivalent(a: string, b: string): boolean {
  const [one, other] = [a, b].map(canonical);
  return one !== undefined && one === other;
}

function canonical(expr: string): string | undefined {
  const tree = parse(expr);
  const broken = nodesOf(tree.topNode).some(({ name, type }) => type.isError || name === 'LineComment');
  return broken ? undefined : shape(tree.topNode, expr);
}

function shape(node: SyntaxNode, expr: string): string {
  const text = expr.slice(node.from, node.to);
  const parts = childrenOf(node).map((child) => shape(child, expr));
  switch (node.name) {
    case 'ParenExpr':
      return parts.join();
    case 'StringLiteral':
      return JSON.stringify(unquote(text) ?? text);
    case 'LabelMatchers':
      return parts.length ? `{${parts.join()}}` : '';
    case 'AggregateExpr': // the grouping may come before or after the arguments
      return `${node.name}(${parts.sort().join()})`;
  }
  if (parts.length) {
    return `${node.name}(${parts.filter(Boolean).join()})`;
  }
  // Keywords and units are case-insensitive, names are not.
  const isName = node.name === 'Identifier' || node.name === 'LabelName';
  return `${node.name} ${isName ? text : text.toLowerCase().replace(/\s/g, '')}`;
}

function read(node: SyntaxNode, expr: string): Visual | undefined {
  const children = childrenOf(node);
  const then = (inner: Visual | undefined, operation: Operation): Visual | undefined =>
    inner && { ...inner, operations: [...inner.operations, operation] };
  const text = (child?: SyntaxNode | null) => textOf(child, expr);

  switch (node.name) {
    case 'ParenExpr':
      return children[0] && read(children[0], expr);
    case 'VectorSelector':
      return ofSelector(node, expr);
    case 'FunctionCall': {
      const name = text(node.getChild('FunctionIdentifier'));
      const takes = FUNCTIONS[name]?.takes;
      const [series, params] = readArguments(name, node, expr);
      if (takes === 'instant') {
        return series && then(read(series, expr), { kind: 'instant', name, params });
      }
      const range = text(series?.getChild('DurationExpr'));
      const of = takes === 'range' && series?.name === 'MatrixSelector' ? series.firstChild : undefined;
      return of ? then(read(of, expr), { kind: 'range', name, range, params }) : undefined;
    }
    case 'AggregateExpr': {
      const name = text(node.getChild('AggregateOp')).toLowerCase();
      const [series, params] = readArguments(name, node, expr);
      const modifier = node.getChild('AggregateModifier');
      const labels = childrenOf(modifier?.getChild('GroupingLabels') ?? node)
        .filter((child) => child.name === 'LabelName' || child.name === 'QuotedLabelName')
        .map((label) => nameOf(label, expr));
      const grouping = modifier ? (modifier.getChild('By') ? 'by' : 'without') : undefined;
      return series && then(read(series, expr), { kind: 'aggregation', name, params, grouping, labels });
    }
    case 'BinaryExpr': {
      const [left, operator, right] = children;
      if (children.length !== 3 || !isNumber(text(right)) || !CALCULATIONS.includes(text(operator))) {
        return undefined;
      }
      return then(read(left!, expr), { kind: 'calculation', name: text(operator), number: text(right) });
    }
    default:
      return undefined;
  }
}

/**
 * The series that a function takes, and its other arguments, which must be numbers. Without series if it has other
 * arguments.
 */
function readArguments(
  name: string,
  node: SyntaxNode,
  expr: string,
): [series: SyntaxNode | undefined, params: string[]] {
  const { params = [], before = 0 } = FUNCTIONS[name] ?? {};
  const body = node.getChild('FunctionCallBody');
  const args = body ? childrenOf(body) : [];
  const series = args[before];
  const numbers = args.filter((arg) => arg !== series).map(({ from, to }) => expr.slice(from, to));
  return numbers.every(isNumber) && numbers.length <= params.length ? [series, numbers] : [undefined, []];
}

function ofSelector(node: SyntaxNode, expr: string): Visual | undefined {
  const { metric, matchers } = readSelector(node, expr);
  return matchers.every(({ value }) => value !== undefined)
    ? { metric, filters: matchers.map(({ label, op, value }) => ({ label, op, value })), operations: [] }
    : undefined;
}

/** Whether the text is a number or duration in PromQL, or a variable for one. */
export function isNumber(text: string): boolean {
  if (isVariable(text)) {
    return true;
  }
  const [root, ...rest] = childrenOf(parse(text).topNode);
  const number = root?.name === 'UnaryExpr' ? root.getChild('NumberDurationLiteral') : root;
  return !rest.length && number?.name === 'NumberDurationLiteral' && !number.firstChild;
}

/** Whether the text is a range: a duration in PromQL, or a variable for one. */
export function isRange(text: string): boolean {
  const [operation] = toVisual(`rate(x[${text}])`)?.operations ?? [];
  return operation?.kind === 'range' && operation.range === text.trim();
}
