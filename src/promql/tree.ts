import type { AdHocVariableFilter } from '@grafana/data';
import type { SyntaxNode, Tree } from '@lezer/common';
import { parser } from '@prometheus-io/lezer-promql';
import { hasVariables, mask, matcherOf, selector, unquote } from './text';

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

/** The text within a node. */
export const textOf = (node: SyntaxNode | null | undefined, expr: string) =>
  node ? expr.slice(node.from, node.to) : '';

/** The name of a label or metric, in quotes or not. */
export function nameOf(node: SyntaxNode | null | undefined, expr: string): string {
  const text = textOf(node, expr);
  return node?.name === 'QuotedLabelName' ? (unquote(text) ?? text) : text;
}

/** A matcher as it is written. Without a value if it is incomplete, or has unusual escapes. */
export interface WrittenMatcher {
  node: SyntaxNode;
  label: string;
  op: string;
  value?: string;
}

/** What a selector is made of. */
export function readSelector(selected: SyntaxNode, expr: string): { metric: string; matchers: WrittenMatcher[] } {
  let metric = textOf(selected.getChild('Identifier'), expr);
  const matchers: WrittenMatcher[] = [];
  for (const node of childrenOf(selected.getChild('LabelMatchers') ?? selected)) {
    if (node.name === 'QuotedLabelName') {
      metric = nameOf(node, expr);
    } else if (node.name.endsWith('LabelMatcher')) {
      const literal = node.getChild('StringLiteral');
      matchers.push({
        node,
        label: nameOf(node.firstChild, expr),
        op: textOf(node.getChild('MatchOp'), expr),
        value: literal ? unquote(textOf(literal, expr)) : undefined,
      });
    }
  }
  return { metric, matchers };
}

/** The node and every node in it, from the outside in and in the order of the text. */
export function nodesOf(within: SyntaxNode): SyntaxNode[] {
  const nodes: SyntaxNode[] = [];
  within.cursor().iterate(({ node }) => void nodes.push(node));
  return nodes;
}

/**
 * The parts of the expression that cannot be parsed. None if the expression has dashboard variables, because their
 * values decide whether it is valid.
 */
export function syntaxErrors(expr: string): Array<{ from: number; to: number }> {
  if (!expr.trim() || hasVariables(expr)) {
    return [];
  }
  return nodesOf(parse(expr).topNode)
    .filter(({ type }) => type.isError)
    .map(({ from, to }) => ({ from, to }));
}

/**
 * The expression with the filters added to each of its selectors. Throws an error if the expression cannot be parsed:
 * without the filters it would show too much.
 */
export function withFilters(expr: string, filters: AdHocVariableFilter[]): string {
  const nodes = filters.length ? nodesOf(parse(expr).topNode) : [];
  const broken = nodes.find(({ type }) => type.isError);
  if (broken) {
    const place = expr.slice(broken.from).trim().slice(0, 30);
    throw new Error(
      "The dashboard's filters cannot be added to this query: it is not PromQL as Prometheus has it, " +
        `${place ? `from “${place}” on` : 'it ends too early'}. Mend the query, or take the filters away.`,
    );
  }
  const added = selector('', filters.map(matcherOf)).slice(1, -1);
  let out = expr;
  // From the end, so that earlier positions stay valid.
  for (const node of nodes.filter(({ name }) => name === 'VectorSelector').reverse()) {
    const matchers = node.getChild('LabelMatchers');
    const last = matchers?.lastChild;
    const at = last?.to ?? (matchers ? matchers.from + 1 : node.to);
    const insert = matchers ? (last ? `, ${added}` : added) : `{${added}}`;
    out = out.slice(0, at) + insert + out.slice(at);
  }
  return out;
}
