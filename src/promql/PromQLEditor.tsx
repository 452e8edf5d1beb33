import { css } from '@emotion/css';
import type { GrafanaTheme2 } from '@grafana/data';
import { Alert, RadioButtonGroup, useStyles2 } from '@grafana/ui';
import React, { useMemo, useState } from 'react';
import { useDraft } from '../components/useDraft';
import { Names } from './names';
import { Builder } from './Builder';
import { CodeField } from './CodeField';
import type { EditorMode, PromQLQuery } from './query';
import { StatesFields } from './StatesFields';
import { StepHint } from './StepHint';
import { toVisual } from './visual';
import { labelsOf, LegendField } from '../components/LegendField';
import { ANNOTATION, isDrawn, StreamingSwitch } from '../components/StreamingSwitch';
import type { EditorProps } from '../sources/source';

const MODES: Array<{ value: EditorMode; label: string }> = [
  { value: 'builder', label: 'Builder' },
  { value: 'code', label: 'Code' },
];

/**
 * Only the expression and the choice of builder or code are saved. The builder parses the expression; an expression
 * that it cannot show is edited as code.
 */
export function PromQLEditor({ datasource, query, app, range, data, onChange, onRunQuery }: EditorProps<PromQLQuery>) {
  const styles = useStyles2(getStyles);
  const starter = (datasource.getDefaultQuery() as Partial<PromQLQuery>).expr;
  // Grafana runs a panel's query with the defaults of what it lacks.
  const { expr = (isDrawn(app) && starter) || '', legend = '', withStreaming = true } = query;
  const names = useMemo(() => new Names(datasource, range), [datasource, range]);
  const canBuild = useMemo(() => toVisual(expr) !== undefined, [expr]);
  const wanted = query.editorMode ?? (canBuild ? 'builder' : 'code');
  const mode = canBuild ? wanted : 'code';
  const [refused, setRefused] = useState<string>();

  const save = (change: Partial<PromQLQuery>) => {
    onChange({ ...query, ...change });
    onRunQuery();
  };
  const typed = useDraft(legend, (text) => save({ legend: text.trim() || undefined }));
  const saveExpr = (changed: string) => changed !== expr && save({ expr: changed, editorMode: mode });
  const choose = (editorMode: EditorMode) => {
    if (editorMode === 'builder' && !canBuild) {
      setRefused(expr);
    } else {
      onChange({ ...query, editorMode });
    }
  };
  const id = (name: string) => `continuum-${query.refId}-${name}`;

  return (
    <div className={styles.editor}>
      <div className={styles.top}>
        <RadioButtonGroup size="sm" aria-label="Editor mode" options={MODES} value={mode} onChange={choose} />
      </div>
      {!canBuild && (refused === expr || wanted === 'builder') && (
        <Alert severity="info" title="The builder cannot show this expression" className={styles.alert}>
          It shows one selection of series and what is done with it step by step. The expression stays as it is, in
          code.
        </Alert>
      )}
      {mode === 'builder' ? (
        <>
          <Builder expr={expr} starter={starter} names={names} onChange={saveExpr} />
          {expr && <code className={styles.preview}>{expr}</code>}
        </>
      ) : (
        <CodeField
          expr={expr}
          names={names}
          placeholder="rate(node_cpu_seconds_total[$__rate_interval])"
          onCommit={saveExpr}
        />
      )}
      <div className={styles.bottom}>
        {isDrawn(app) && (
          <LegendField
            id={id('legend')}
            value={typed.draft}
            labels={labelsOf(data, query.refId)}
            onChange={typed.setDraft}
            handlers={typed.handlers}
          />
        )}
        {(isDrawn(app) || app === ANNOTATION) && (
          <StatesFields id={id('stateLabel')} query={{ ...query, expr }} names={names} onChange={save} />
        )}
        {isDrawn(app) && <StreamingSwitch id={id('withStreaming')} value={withStreaming} onChange={save} />}
        <StepHint refId={query.refId} data={data} interval={datasource.sampleInterval} />
      </div>
    </div>
  );
}

const getStyles = (theme: GrafanaTheme2) => ({
  editor: css({ display: 'flex', flexDirection: 'column', gap: theme.spacing(0.5) }),
  top: css({ display: 'flex', justifyContent: 'flex-end' }),
  alert: css({ margin: 0 }),
  preview: css({
    margin: 0,
    padding: theme.spacing(0.5, 1),
    whiteSpace: 'pre-wrap',
    overflowWrap: 'anywhere',
    color: theme.colors.text.secondary,
    background: 'none',
    border: 'none',
  }),
  bottom: css({ display: 'flex', flexWrap: 'wrap', alignItems: 'flex-start', columnGap: theme.spacing(0.5) }),
});
