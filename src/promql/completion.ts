import { escapeRegExp } from 'lodash';
import { LIMIT, Names } from './names';
import { labelName, Matcher, quote, selector, unquote } from './text';
import { FUNCTIONS } from './functions';
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
  | { kind: 'value'; label: string; op: string; match?: string; quoted: boolean; closed: boolean }
);

interface Token {
  kind: 'comment' | 'string' | 'variable' | 'number' | 'name' | 'operator' | 'bracket' | 'other';
  text: string;
  from: number;
  to: number;
}

const TOKENS: Array<[kind: Token['kind'], pattern: string]> = [
  ['comment', '#[^\\n]*'],
  ['string', '"(?:[^"\\\\\\n]|\\\\.)*"?|\'(?:[^\'\\\\\\n]|\\\\.)*\'?|`[^`]*`?'],
  ['variable', '\\$\\{[^}\\s]*\\}?|\\$\\w*|\\[\\[\\w*\\]?\\]?'],
  ['number', '\\.?\\d[\\w.]*'],
  ['name', '[\\p{L}_:][\\p{L}\\p{M}\\p{N}_:]*'],
  ['operator', '=~|!~|[!=<>]=|[-+*/%^<>=!@]'],
  ['bracket', '[()[\\]{}]'],
  ['other', '\\S'],
];

function tokensOf(expr: string): Token[] {
  const pattern = new RegExp(TOKENS.map(([, source]) => `(${source})`).join('|'), 'gu');
  return [...expr.matchAll(pattern)].map((match) => ({
    kind: TOKENS[match.slice(1).findIndex(Boolean)]![0],
    text: match[0],
    from: match.index,
    to: match.index + match[0].length,
  }));
}

const GROUPINGS = ['by', 'without', 'on', 'ignoring', 'group_left', 'group_right'];
const isGrouping = (token?: Token) => token?.kind === 'name' && GROUPINGS.includes(token.text.toLowerCase());
const isAggregation = (token?: Token) => FUNCTIONS[token?.text ?? '']?.takes === 'aggregation';
const WORDS = ['and', 'or', 'unless', 'atan2', 'bool', 'offset'];

export function contextAt(expr: string, pos: number): Context {
  const tokens = tokensOf(expr);
  const at = tokens.findIndex(({ from, to }) => from < pos && pos <= to);
  const typed = tokens[at];
  const isTyped = typed && isOpen(typed, pos);
  const before = tokens.slice(0, isTyped ? at : tokens.filter(({ to }) => to <= pos).length);
  const { from, to } = isTyped ? typed : { from: pos, to: pos };

  if (isTyped) {
    const variable = /\$\{?\w*$/.exec(expr.slice(from, pos))?.[0];
    if (variable && typed.kind !== 'comment') {
      // Typed braces are replaced too, because suggestions have none.
      const rest = /^\w*\}?/.exec(expr.slice(pos))![0];
      return { kind: 'variable', from: pos - variable.length, to: pos + rest.length, quoted: typed.kind === 'string' };
    }
    if (typed.kind === 'comment' || typed.kind === 'number') {
      return { kind: 'none', from, to };
    }
  }

  const { opener, closed } = bracketsOf(before);
  const last = before.at(-1);
  switch (opener === undefined ? '' : tokens[opener]!.text) {
    case '{':
      return inSelector(tokens, opener!, before.length, isTyped ? typed : undefined, pos);
    case '[':
      return { kind: isTyped && typed.kind === 'string' ? 'none' : 'range', from, to };
    case '(':
      if (isGrouping(tokens[opener! - 1])) {
        return { kind: 'label', from, to, match: selectionOf(tokens) };
      }
  }
  if (isTyped && typed.kind === 'string') {
    return { kind: 'none', from, to };
  }
  // A closing bracket ends an operand, except for that of a grouping.
  const endsOperand = last?.text === ')' ? !isGrouping(tokens[closed! - 1]) : last && !'([{,'.includes(last.text);
  const wantsOperand = !endsOperand || last?.kind === 'operator' || WORDS.includes(last!.text) || isGrouping(last);
  return { kind: wantsOperand ? 'expression' : 'operator', from, to };
}

/** Whether the token goes on at the cursor: text typed at its end belongs to it, or the cursor is within it. */
function isOpen({ kind, text, to }: Token, pos: number): boolean {
  switch (kind) {
    case 'name':
    case 'variable':
    case 'number':
    case 'comment':
      return true;
    case 'string':
      return pos < to || unquote(text) === undefined;
    default:
      return false;
  }
}

/**
 * The index of the innermost bracket that is still open after the tokens, and of the opening bracket of the pair that
 * was closed last.
 */
function bracketsOf(tokens: Token[]): { opener?: number; closed?: number } {
  const open: number[] = [];
  let closed: number | undefined;
  tokens.forEach(({ kind, text }, i) => {
    if (kind !== 'bracket') {
      return;
    }
    if ('([{'.includes(text)) {
      open.push(i);
    } else {
      closed = open.pop();
    }
  });
  return { opener: open.at(-1), closed };
}

function inSelector(tokens: Token[], opener: number, end: number, typed: Token | undefined, pos: number): Context {
  const { from, to } = typed ?? { from: pos, to: pos };
  const last = tokens[end - 1]!;
  const others = matchersOf(tokens, opener, from);
  const match = selector(metricAt(tokens, opener), others) || undefined;
  if (last.kind === 'operator' && (!typed || typed.kind === 'string' || typed.kind === 'name')) {
    const quoted = typed?.kind === 'string';
    const closed = quoted && unquote(typed.text) !== undefined;
    const label = nameOf(tokens[end - 2]) ?? '';
    // A string without its closing quote would include all that follows, so only its text up to the cursor is replaced.
    const inner = quoted ? { from: from + 1, to: closed ? to - 1 : pos } : { from, to };
    return { kind: 'value', ...inner, label, op: last.text, match, quoted, closed };
  }
  if (typed?.kind !== 'string' && (last.text === '{' || last.text === ',')) {
    return { kind: 'label', from, to, match };
  }
  const afterLabel = !typed && last.kind === 'name';
  return { kind: afterLabel ? 'matchOperator' : 'none', from, to };
}

/** The name of a label or metric, in quotes or not. */
const nameOf = (token?: Token) =>
  token?.kind === 'string' ? unquote(token.text) : token?.kind === 'name' ? token.text : undefined;

/** The metric of a selector, before its braces or in quotes within. */
function metricAt(tokens: Token[], opener: number): string {
  const name = tokens[opener - 1];
  const isMetric = name?.kind === 'name' || name?.kind === 'variable';
  if (isMetric && !isGrouping(name) && name.to === tokens[opener]!.from) {
    return name.text;
  }
  for (let i = opener + 1; i < tokens.length && tokens[i]!.text !== '}'; i++) {
    const [before, literal, after] = tokens.slice(i - 1, i + 2);
    if (literal!.kind === 'string' && '{,'.includes(before!.text) && after && ',}'.includes(after.text)) {
      return unquote(literal!.text) ?? '';
    }
  }
  return '';
}

/** The complete matchers of the selector, without the one at the position `except`. */
function matchersOf(tokens: Token[], opener: number, except: number): Matcher[] {
  const matchers: Matcher[] = [];
  for (let i = opener + 1; i < tokens.length && tokens[i]!.text !== '}'; i++) {
    const [name, op, literal] = tokens.slice(i, i + 3);
    const label = nameOf(name);
    const value = literal?.kind === 'string' ? unquote(literal.text) : undefined;
    const isMatcher = label !== undefined && (MATCH_OPERATORS as readonly string[]).includes(op?.text ?? '');
    if (isMatcher && value !== undefined && !(name!.from <= except && except <= literal!.to)) {
      matchers.push({ label, op: op!.text, value });
    }
  }
  return matchers;
}

/** A selector of the series that the expression selects. If it has several selectors, only their metric names count. */
function selectionOf(tokens: Token[]): string | undefined {
  const selectors = tokens.flatMap((token, i) => {
    const next = tokens[i + 1];
    if (next?.text === '{' && next.kind === 'bracket') {
      return { metric: metricAt(tokens, i + 1), matchers: matchersOf(tokens, i + 1, -1) };
    }
    const { opener } = bracketsOf(tokens.slice(0, i));
    const inBraces = opener !== undefined && (tokens[opener]!.text !== '(' || isGrouping(tokens[opener - 1]));
    const isMetric = token.kind === 'name' && next?.text !== '(' && !inBraces;
    return isMetric && !isGrouping(token) && !isAggregation(token) && !WORDS.includes(token.text)
      ? { metric: token.text, matchers: [] }
      : [];
  });
  if (selectors.length === 1) {
    return selector(selectors[0]!.metric, selectors[0]!.matchers) || undefined;
  }
  const metrics = new Set(selectors.map(({ metric }) => metric).filter(Boolean));
  return metrics.size ? selector('', [{ label: '__name__', op: '=~', value: [...metrics].join('|') }]) : undefined;
}

export interface Suggestion {
  kind: 'metric' | 'function' | 'aggregation' | 'label' | 'value' | 'word' | 'range' | 'variable';
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
      const labels = await names.labels(context.match);
      return { from, to, suggestions: [...listed('label', labels, labelName), ...ofDashboard] };
    }
    case 'value': {
      const { label, op, match, quoted, closed } = context;
      const values = await names.values(label, match);
      const inserted = (value: string) => {
        const literal = quote(op.endsWith('~') && !value.startsWith('$') ? escapeRegExp(value) : value);
        return quoted ? literal.slice(1, closed ? -1 : undefined) : literal;
      };
      const suggestions = [...listed('value', values), ...ofDashboard];
      return { from, to, suggestions: suggestions.map((s) => ({ ...s, insert: inserted(s.label) })) };
    }
    case 'expression': {
      const metrics = await names.metrics(expr.slice(from, pos));
      const suggestions = metrics.map(({ name, type, unit, help }): Suggestion => {
        return {
          kind: 'metric',
          label: name,
          insert: selector(name, []),
          detail: [type, unit].filter(Boolean).join(', '),
          help,
        };
      });
      return { from, to, suggestions: [...suggestions, ...CALLS, ...ofDashboard], incomplete: metrics.length >= LIMIT };
    }
  }
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
