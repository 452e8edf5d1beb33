import type { Monaco, monacoTypes } from '@grafana/ui';
import type { SyntaxNode } from '@lezer/common';
import { nodesOf, parse, syntaxErrors, variablesOf } from './promql';
import { Completion, Suggestion } from './completion';

export const LANGUAGE = 'continuum-promql';

/** Suggests what may come at a place of an editor's text. */
export type Completer = (expr: string, pos: number) => Promise<Completion>;

type Model = monacoTypes.editor.ITextModel;

/** Monaco asks for suggestions per language, for all editors of the page. */
const completers = new WeakMap<Model, Completer>();
const known = new WeakSet<Monaco>();

export function completeWith(model: Model, completer: Completer) {
  completers.set(model, completer);
}

/** Makes the language known to the Monaco that Grafana brings. */
export function registerLanguage(monaco: Monaco) {
  if (known.has(monaco)) {
    return;
  }
  known.add(monaco);
  monaco.languages.register({ id: LANGUAGE });
  const pairs = ['{}', '[]', '()', '""', "''", '``'].map((pair) => ({ open: pair.charAt(0), close: pair.charAt(1) }));
  monaco.languages.setLanguageConfiguration(LANGUAGE, {
    wordPattern: /\$?[a-zA-Z_:][\w:]*|\d[\w.]*/,
    comments: { lineComment: '#' },
    brackets: [
      ['{', '}'],
      ['[', ']'],
      ['(', ')'],
    ],
    autoClosingPairs: pairs,
    surroundingPairs: pairs,
  });
  monaco.languages.setTokensProvider(LANGUAGE, {
    getInitialState: () => after(''),
    tokenize: (line, before) => {
      const { text } = before as Before;
      return { tokens: highlight(text, line), endState: after(`${text}${line}\n`) };
    },
  });
  monaco.languages.registerCompletionItemProvider(LANGUAGE, {
    triggerCharacters: ['{', '[', '(', ',', '=', '~', '"', "'", '$', ' '],
    provideCompletionItems: async (model, position) => {
      const completer = completers.get(model);
      if (!completer) {
        return { suggestions: [] };
      }
      const { from, to, suggestions, incomplete } = await completer(model.getValue(), model.getOffsetAt(position));
      const range = monaco.Range.fromPositions(model.getPositionAt(from), model.getPositionAt(to));
      const typed = model.getValueInRange(range);
      return { incomplete, suggestions: suggestions.map((s, i) => itemOf(monaco, s, range, typed, i)) };
    },
  });
}

interface Before extends monacoTypes.languages.IState {
  text: string;
}

/** All lines before: what a part of an expression is may depend on any of them. Expressions are short. */
function after(text: string): Before {
  const state: Before = { text, clone: () => state, equals: (other) => (other as Before).text === text };
  return state;
}

const SCOPES: Record<string, string> = {
  FunctionIdentifier: 'type',
  AggregateOp: 'type',
  LabelName: 'tag',
  QuotedLabelName: 'tag',
  StringLiteral: 'string',
  NumberDurationLiteral: 'number',
  NumberDurationLiteralInDurationContext: 'number',
  LineComment: 'comment',
};
const KEYWORDS =
  /^(By|Without|On|Ignoring|GroupLeft|GroupRight|Bool|Offset|And|Or|Unless|Atan2|AtModifierPreprocessors|inf|nan)$/;

/** The tokens of a line that comes after some text, by the grammar. */
export function highlight(before: string, line: string): monacoTypes.languages.IToken[] {
  const expr = before + line;
  const scopes = new Array<string>(line.length).fill('');
  const paint = (scope: string, { from, to }: { from: number; to: number }) =>
    scopes.fill(scope, Math.max(0, from - before.length), Math.max(0, to - before.length));
  const scopeOf = ({ name }: SyntaxNode) => SCOPES[name] ?? (KEYWORDS.test(name) ? 'keyword' : undefined);
  for (const node of nodesOf(parse(expr))) {
    const scope = scopeOf(node);
    if (scope) {
      paint(scope, node);
    }
  }
  variablesOf(expr).forEach((variable) => paint('variable', variable));
  return scopes
    .map((scope, startIndex) => ({ scopes: scope, startIndex }))
    .filter(({ scopes: scope }, i) => scope !== scopes[i - 1]);
}

/** Underlines what cannot be parsed. */
export function markErrors(monaco: Monaco, model: Model) {
  const markers = syntaxErrors(model.getValue()).map(({ from, to }) => {
    // What is missing has no length: the character before it is underlined.
    const start = model.getPositionAt(from === to ? from - 1 : from);
    const end = model.getPositionAt(to);
    return {
      startLineNumber: start.lineNumber,
      startColumn: start.column,
      endLineNumber: end.lineNumber,
      endColumn: end.column,
      message: from === to ? 'Something is missing here.' : 'This cannot be here.',
      severity: monaco.MarkerSeverity.Error,
    };
  });
  monaco.editor.setModelMarkers(model, LANGUAGE, markers);
}

function itemOf(
  monaco: Monaco,
  { kind, label, insert = label, detail, help }: Suggestion,
  range: monacoTypes.IRange,
  typed: string,
  order: number,
): monacoTypes.languages.CompletionItem {
  const kinds = monaco.languages.CompletionItemKind;
  const isCall = kind === 'function' || kind === 'aggregation';
  const isSnippet = (isCall || kind === 'word') && insert.includes('|');
  return {
    label,
    kind: {
      metric: kinds.Variable,
      function: kinds.Function,
      aggregation: kinds.Function,
      label: kinds.Field,
      value: kinds.Value,
      word: kinds.Keyword,
      range: kinds.Unit,
      variable: kinds.Constant,
    }[kind],
    detail,
    documentation: help,
    range,
    sortText: String(order).padStart(5, '0'),
    // Monaco compares with what is typed, which may have a brace.
    filterText: typed.startsWith('${') ? `\${${label.slice(1)}` : label,
    insertText: isSnippet ? insert.replace(/\$/g, '\\$').replace('|', '$0') : insert,
    insertTextRules: isSnippet ? monaco.languages.CompletionItemInsertTextRule.InsertAsSnippet : undefined,
    command: isSnippet ? { id: 'editor.action.triggerSuggest', title: '' } : undefined,
  };
}
