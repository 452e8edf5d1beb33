import { css } from '@emotion/css';
import { GrafanaTheme2 } from '@grafana/data';
import { CodeEditor, Monaco, MonacoEditor, useStyles2 } from '@grafana/ui';
import React, { useEffect, useRef, useState } from 'react';
import { useDraft } from '../components/useDraft';
import { suggest } from './completion';
import { completeWith, LANGUAGE, markErrors, registerLanguage } from './language';
import { Names, variableNames } from './names';

interface CodeFieldProps {
  expr: string;
  names: Names;
  placeholder: string;
  /** Called when the user leaves the field, or presses Shift+Enter or Ctrl+Enter. */
  onCommit: (expr: string) => void;
}

const LINE = 18;
const PADDING = 12;
const MOST_LINES = 12;

export function CodeField({ expr, names, placeholder, onCommit }: CodeFieldProps) {
  const styles = useStyles2(getStyles);
  const [height, setHeight] = useState(LINE + PADDING);
  const [isMounted, setMounted] = useState(false);
  const { draft, setDraft } = useDraft(expr, onCommit);

  // Monaco keeps the first functions that it is given. They read the latest values from here.
  const latest = useRef({ names, onCommit });
  useEffect(() => {
    latest.current = { names, onCommit };
  });

  const onMount = (editor: MonacoEditor, monaco: Monaco) => {
    const model = editor.getModel();
    if (!model) {
      return;
    }
    setMounted(true);
    completeWith(model, (text, pos) => suggest(text, pos, latest.current.names, variableNames()));
    markErrors(monaco, model);
    model.onDidChangeContent(() => markErrors(monaco, model));
    const fit = () => setHeight(Math.min(editor.getContentHeight(), MOST_LINES * LINE + PADDING));
    fit();
    editor.onDidContentSizeChange(fit);
    const commit = () => latest.current.onCommit(editor.getValue());
    editor.onKeyDown((event) => {
      const suggests = editor.getDomNode()?.querySelector('.suggest-widget.visible');
      if (event.keyCode === monaco.KeyCode.Tab && !suggests) {
        // Tab leaves the field, as in any other field. Monaco would insert a tab, and keyboard users could not leave
        // the field.
        event.stopPropagation();
      }
      if (event.keyCode === monaco.KeyCode.Enter && (event.shiftKey || event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        event.stopPropagation();
        commit();
      }
    });
  };

  return (
    <div className={styles.field}>
      <CodeEditor
        value={draft}
        language={LANGUAGE}
        height={height}
        showMiniMap={false}
        showLineNumbers={false}
        wordWrap
        monacoOptions={OPTIONS}
        onBeforeEditorMount={registerLanguage}
        onEditorDidMount={onMount}
        onChange={setDraft}
        onBlur={onCommit}
      />
      {isMounted && draft === '' && <div className={styles.placeholder}>{placeholder}</div>}
    </div>
  );
}

const OPTIONS = {
  ariaLabel: 'PromQL',
  lineHeight: LINE,
  padding: { top: PADDING / 2, bottom: PADDING / 2 },
  scrollBeyondLastLine: false,
  folding: false,
  renderLineHighlight: 'none',
  overviewRulerLanes: 0,
  hideCursorInOverviewRuler: true,
  quickSuggestions: { other: true, comments: false, strings: true },
  suggest: { showWords: false },
  wordBasedSuggestions: false as never, // a string in newer versions, which also accept false
  occurrencesHighlight: false as never,
} as const;

const getStyles = (theme: GrafanaTheme2) => ({
  field: css({ position: 'relative', flexGrow: 1, minWidth: 0 }),
  placeholder: css({
    position: 'absolute',
    top: PADDING / 2 + 1, // 1 for the border
    left: theme.spacing(1.5),
    right: 0,
    overflow: 'hidden',
    whiteSpace: 'nowrap',
    textOverflow: 'ellipsis',
    fontFamily: theme.typography.fontFamilyMonospace,
    fontSize: theme.typography.bodySmall.fontSize,
    lineHeight: `${LINE}px`,
    color: theme.colors.text.disabled,
    pointerEvents: 'none',
  }),
});
