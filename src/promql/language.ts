import type { Monaco, monacoTypes } from '@grafana/ui';
import { language } from 'monaco-promql/promql/promql';
import type { Completion, Suggestion } from './completion';
import { syntaxErrors } from './tree';

export const LANGUAGE = 'continuum-promql';

/** Suggests what may come at a place of an editor's text. */
export type Completer = (expr: string, pos: number) => Promise<Completion>;

type Model = monacoTypes.editor.ITextModel;

/** The completer of each editor. Monaco asks for suggestions per language, for all editors of the page. */
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
  monaco.languages.setMonarchTokensProvider(LANGUAGE, HIGHLIGHTING);
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

/** A variable in any of Grafana's notations. */
const VARIABLE: monacoTypes.languages.IMonarchLanguageRule = [/\$\w+|\$\{[^}"'`]+\}|\[\[\w+(?::\w+)?\]\]/, 'variable'];

const { tokenizer } = language;

/** Rules for a string: its text is highlighted up to the next variable. */
const inQuotes = (mark: string, rules: monacoTypes.languages.IMonarchLanguageRule[] = []) => [
  VARIABLE,
  [new RegExp(`[^\\\\${mark}$[]+|[$[]`), 'string'] as [RegExp, string],
  ...rules,
];

/** The rules of PromQL, and Grafana's variables. */
const HIGHLIGHTING: monacoTypes.languages.IMonarchLanguage = {
  ...language,
  tokenizer: {
    ...tokenizer,
    root: [VARIABLE, ...(tokenizer.root ?? [])],
    clauses: [VARIABLE, ...(tokenizer.clauses ?? [])],
    string_double: inQuotes('"', tokenizer.string_double),
    string_single: inQuotes("'", tokenizer.string_single),
    string_backtick: inQuotes('`', tokenizer.string_backtick),
  },
};

/** Underlines what cannot be parsed. */
export function markErrors(monaco: Monaco, model: Model) {
  const markers = syntaxErrors(model.getValue()).map(({ from, to }) => {
    // An error for something that is missing has no length, so the character before it is underlined.
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

/** What Monaco compares with the typed text. */
function filterTextOf(kind: Suggestion['kind'], label: string, insert: string, typed: string): string {
  switch (kind) {
    case 'more':
      return typed; // a remark fits whatever is typed
    case 'value':
      return insert; // which is typed with its escapes
    default:
      return typed.startsWith('${') ? `\${${label.slice(1)}` : label;
  }
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
      more: kinds.Text,
    }[kind],
    detail,
    documentation: help,
    range,
    sortText: String(order).padStart(5, '0'),
    filterText: filterTextOf(kind, label, insert, typed),
    insertText: isSnippet ? insert.replace(/\$/g, '\\$').replace('|', '$0') : insert,
    insertTextRules: isSnippet ? monaco.languages.CompletionItemInsertTextRule.InsertAsSnippet : undefined,
    command: isSnippet ? { id: 'editor.action.triggerSuggest', title: '' } : undefined,
  };
}
