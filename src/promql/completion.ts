import type { SyntaxNode } from '@lezer/common';
import { escapeRegExp } from 'lodash';
import { FUNCTIONS } from './functions';
import { cutAt, LIMIT, Names } from './names';
import { alternativeAt, labelName, quote, selector, unquote } from './text';
import { nodesOf, parse, readSelector, textOf, type WrittenMatcher } from './tree';
import { CALCULATIONS, MATCH_OPERATORS } from './visual';

/**
 * What can be suggested at a position in an expression, which may be incomplete. A suggestion replaces the text from
 * `from` to `to`.
 */
export type Context = { from: number; to: number } & (
  | { kind: 'none' | 'expression' | 'range' | 'operator' | 'matchOperator' }
  /** Within a string if `quoted`. Macros are not suggested there. */
  | { kind: 'variable'; quoted: boolean }
  /** A label of a selector or of a grouping. `match` selects the series concerned, if they are known. */
  | { kind: 'label'; match?: string }
  /**
   * A value of a label, or within a regular expression one of several alternatives. `opened` is the quote that is typed
   * already, and `closing` is what is missing after the value.
   */
  | { kind: 'value'; label: string; op: string; match?: string; opened?: string; closing: string }
);

/** The name that ends, or begins, at a position. */
const NAME_BEFORE = /[\p{L}_:][\p{L}\p{M}\p{N}_:]*$/u;
const NAME_AFTER = /^[\p{L}\p{M}\p{N}_:]*/u;

export function contextAt(expr: string, pos: number): Context {
  const nothing = { kind: 'none' as const, from: pos, to: pos };
  const within = parse(expr).resolveInner(pos, -1);
  if (within.name === 'LineComment') {
    return nothing;
  }
  const isString = within.name === 'StringLiteral' && isOpen(within, expr, pos);
  const variable = /\$\{?\w*$/.exec(expr.slice(0, pos))?.[0];
  if (variable) {
    // Typed braces are replaced too, because suggestions have none.
    const rest = /^\w*\}?/.exec(expr.slice(pos))![0];
    return { kind: 'variable', from: pos - variable.length, to: pos + rest.length, quoted: isString };
  }
  if (isString) {
    return inString(within, expr, pos) ?? nothing;
  }
  if (within.name.startsWith('NumberDurationLiteral') && within.from < pos) {
    return nothing;
  }
  const typed = NAME_BEFORE.exec(expr.slice(0, pos))?.[0] ?? '';
  const from = pos - typed.length;
  const to = typed ? pos + NAME_AFTER.exec(expr.slice(pos))![0].length : pos;
  return { from, to, ...atName(`${expr.slice(0, from)}_${expr.slice(to)}`, from) };
}

/** Whether a string goes on at the position. */
function isOpen(literal: SyntaxNode, expr: string, pos: number): boolean {
  return pos < literal.to || unquote(textOf(literal, expr)) === undefined;
}

function inString(literal: SyntaxNode, expr: string, pos: number): Context | undefined {
  if (literal.prevSibling?.name !== 'MatchOp') {
    return undefined;
  }
  const isClosed = unquote(textOf(literal, expr)) !== undefined;
  // A string without its closing quote has all that follows in it, so only its text up to the cursor is replaced.
  const end = isClosed ? literal.to - 1 : pos;
  const after = isClosed ? literal.to : pos;
  const opened = expr.charAt(literal.from);
  const value = valueIn(literal.parent!, expr, expr.slice(after));
  const begin = literal.from + 1;
  const part = value.op.endsWith('~')
    ? alternativeAt(expr.slice(begin, end), pos - begin, opened)
    : { from: 0, to: end - begin };
  const [from, to] = [begin + part.from, begin + part.to];
  // Within an expression that goes on, a value needs nothing after it.
  return to < end
    ? { ...value, opened, from, to, closing: '' }
    : { ...value, opened, from, to: after, closing: opened + value.closing };
}

/**
 * What may come at a position. An expression is incomplete there while one types, so the text has a name there, whatever
 * was typed: the parser then says what kind of name it takes it for.
 */
function atName(text: string, from: number) {
  const node = parse(text).resolveInner(from + 1, -1);
  const parent = node.parent!;
  if (!parent.type.isError) {
    switch (node.name) {
      case 'Identifier':
        return { kind: 'expression' as const };
      case 'LabelName':
        return parent.name === 'GroupingLabels'
          ? { kind: 'label' as const, match: selectionOf(aroundGrouping(parent), text) }
          : { kind: 'label' as const, match: matchOf(parent, text) };
    }
    return { kind: 'none' as const };
  }
  // The name cannot be there: what stands before it says what can.
  const before = parent.prevSibling?.name;
  const around = parent.parent?.name ?? '';
  if (around.endsWith('LabelMatcher') && before === 'MatchOp') {
    return valueIn(parent.parent!, text, text.slice(from + 1));
  }
  if (around.endsWith('LabelMatcher') || before === 'QuotedLabelName') {
    return { kind: 'matchOperator' as const };
  }
  if (around === 'MatrixSelector' || around === 'SubqueryExpr' || before === 'Offset') {
    return { kind: 'range' as const };
  }
  return around === 'LabelMatchers' || before === 'At' ? { kind: 'none' as const } : { kind: 'operator' as const };
}

/** The value of a matcher. `rest` is what follows it. */
function valueIn(matcher: SyntaxNode, expr: string, rest: string) {
  const braces = matcher.parent!;
  const { label = '', op = '' } = written(matcher, expr) ?? {};
  const isClosed = braces.lastChild?.to !== braces.to || /^["'`]?\s*[,}]/.test(rest);
  const closing = isClosed ? '' : '}';
  return { kind: 'value' as const, label, op, match: matchOf(matcher, expr), closing };
}

const written = (matcher: SyntaxNode, expr: string) =>
  matchersAround(matcher, expr).find((m) => isSame(m.node, matcher));
const isSame = (a: SyntaxNode, b: SyntaxNode) => a.from === b.from && a.to === b.to;

const matchersAround = (matcher: SyntaxNode, expr: string): WrittenMatcher[] =>
  readSelector(matcher.parent!.parent!, expr).matchers;

/** Selects the series of a selector as if one of its matchers were not there. */
function matchOf(matcher: SyntaxNode, expr: string): string | undefined {
  const { metric, matchers } = readSelector(matcher.parent!.parent!, expr);
  const others = matchers.filter(({ node }) => !isSame(node, matcher));
  return selector(metric, complete(others)) || undefined;
}

const complete = (matchers: WrittenMatcher[]) =>
  matchers.flatMap(({ label, op, value }) => (value === undefined ? [] : { label, op, value }));

/** What is grouped: an aggregation, or both sides of an operator. */
function aroundGrouping(labels: SyntaxNode): SyntaxNode {
  let node = labels;
  while (node.parent && node.name !== 'AggregateExpr' && node.name !== 'BinaryExpr') {
    node = node.parent;
  }
  return node;
}

/** A selector of the series that are selected within a node. Of several selectors only the metrics count. */
function selectionOf(within: SyntaxNode, expr: string): string | undefined {
  const selectors = nodesOf(within)
    .filter(({ name }) => name === 'VectorSelector')
    .map((node) => readSelector(node, expr));
  if (selectors.length === 1) {
    return selector(selectors[0]!.metric, complete(selectors[0]!.matchers)) || undefined;
  }
  const metrics = new Set(selectors.map(({ metric }) => metric).filter(Boolean));
  return metrics.size ? selector('', [{ label: '__name__', op: '=~', value: [...metrics].join('|') }]) : undefined;
}

const GROUPINGS = ['by', 'without', 'on', 'ignoring', 'group_left', 'group_right'];
const WORDS = ['and', 'or', 'unless', 'atan2', 'bool', 'offset'];

export interface Suggestion {
  /** `more` is a remark: the list was cut. */
  kind: 'metric' | 'function' | 'aggregation' | 'label' | 'value' | 'word' | 'range' | 'variable' | 'more';
  label: string;
  /** The text to insert instead of the label. In functions and words, | marks where the cursor goes. */
  insert?: string;
  detail?: string;
  help?: string;
}

export interface Completion {
  from: number;
  to: number;
  suggestions: Suggestion[];
  /** There are more: ask again when more is typed. */
  incomplete?: boolean;
}

const MACROS: Suggestion[] = (
  [
    ['$__rate_interval', 'A time that suits rate(): four samples at least, and no gap between two rows.'],
    ['$__interval', 'The time between two rows.'],
    ['$__range', 'The time range of the panel.'],
  ] as const
).map(([label, help]) => ({ kind: 'variable', label, detail: 'duration', help }));

const NUMBERS: Suggestion[] = ['$__interval_ms', '$__range_ms', '$__range_s'].map((label) => ({
  kind: 'variable',
  label,
  detail: label.endsWith('_ms') ? 'milliseconds' : 'seconds',
}));

const RANGES = ['1m', '5m', '15m', '1h', '1d'];

/** What to suggest at a position in an expression. `variables` are the dashboard's, as they are written in a query. */
export async function suggest(expr: string, pos: number, names: Names, variables: string[]): Promise<Completion> {
  const context = contextAt(expr, pos);
  const { from, to } = context;
  const typed = expr.slice(from, pos);
  const replaced = expr.slice(from, to);
  const ofDashboard = variables.map((label): Suggestion => ({ kind: 'variable', label, detail: 'variable' }));
  const listed = (kind: Suggestion['kind'], labels: readonly string[], insert?: (label: string) => string) =>
    labels.map((label): Suggestion => ({ kind, label, insert: insert?.(label) }));

  switch (context.kind) {
    case 'none':
      return { from, to, suggestions: [] };
    case 'variable':
      return { from, to, suggestions: [...(context.quoted ? [] : [...MACROS, ...NUMBERS]), ...ofDashboard] };
    case 'range':
      return { from, to, suggestions: [...MACROS, ...listed('range', RANGES), ...ofDashboard] };
    case 'matchOperator':
      return { from, to, suggestions: listed('word', MATCH_OPERATORS, (op) => `${op}"|"`) };
    case 'operator': {
      const groupings = listed('word', GROUPINGS, (word) => `${word} (|)`);
      return { from, to, suggestions: [...groupings, ...listed('word', [...WORDS, ...CALCULATIONS])] };
    }
    case 'label': {
      const labels = await names.labels(context.match, typed);
      return { from, to, ...limited(listed('label', labels, labelName), replaced, ofDashboard) };
    }
    case 'value': {
      const { label, op, match, opened, closing } = context;
      const isRegExp = op.endsWith('~');
      const text = opened ? (unquote(opened + typed + opened) ?? typed) : typed;
      const values = await names.values(label, match, isRegExp ? text.replace(/\\(.)/g, '$1') : text);
      const inserted = (value: string) => {
        const literal = quote(isRegExp && !value.startsWith('$') ? escapeRegExp(value) : value, opened);
        return (opened ? literal.slice(1, -1) : literal) + closing;
      };
      const written = (suggestions: Suggestion[]) => suggestions.map((s) => ({ ...s, insert: inserted(s.label) }));
      return { from, to, ...limited(written(listed('value', values)), replaced, written(ofDashboard)) };
    }
    case 'expression': {
      const metrics = await names.metrics(undefined, typed);
      const suggestions = metrics.map(({ name, type, unit, help }): Suggestion => {
        return {
          kind: 'metric',
          label: name,
          insert: selector(name, []),
          detail: [type, unit].filter(Boolean).join(', '),
          help,
        };
      });
      return { from, to, ...limited(suggestions, replaced, [...CALLS, ...ofDashboard]) };
    }
  }
}

/**
 * The suggestions of a list that may have been cut, and others. A list that was cut says so, and that leaves the text as
 * it is.
 */
function limited(list: Suggestion[], replaced: string, others: Suggestion[]): Omit<Completion, 'from' | 'to'> {
  const more: Suggestion = { kind: 'more', label: cutAt(LIMIT), insert: replaced };
  return list.length < LIMIT
    ? { suggestions: [...list, ...others] }
    : { suggestions: [...list, ...others, more], incomplete: true };
}

const CALLS = Object.entries(FUNCTIONS).map(([label, { takes, help, params, before, range }]): Suggestion => {
  const numbers = params.filter(({ optional }) => !optional).map(({ initial }) => initial);
  const args = [...numbers.slice(0, before), takes === 'range' ? `|[${range}]` : '|', ...numbers.slice(before)];
  const isAggregation = takes === 'aggregation';
  return {
    kind: isAggregation ? 'aggregation' : 'function',
    label,
    insert: ['time', 'pi'].includes(label) ? `${label}()` : `${label}(${args.join(', ')})`,
    detail: help,
  };
});
