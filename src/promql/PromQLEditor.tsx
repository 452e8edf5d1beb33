import { css } from '@emotion/css';
import { GrafanaTheme2, QueryEditorProps } from '@grafana/data';
import { Alert, InlineField, Input, RadioButtonGroup, useStyles2 } from '@grafana/ui';
import React, { useEffect, useMemo, useState } from 'react';
import { DataSource } from '../datasource';
import { Names } from './names';
import { EditorMode, Options, Query } from '../types';
import { Builder } from './Builder';
import { CodeField } from './CodeField';
import { StepHint } from './StepHint';
import { toVisual } from './visual';
import { StreamingSwitch } from '../components/StreamingSwitch';

const MODES: Array<{ value: EditorMode; label: string }> = [
  { value: 'builder', label: 'Builder' },
  { value: 'code', label: 'Code' },
];

/** The expression alone is saved; the builder reads it, and is there for those that it can show. */
export function PromQLEditor({
  datasource,
  query,
  range,
  data,
  onChange,
  onRunQuery,
}: QueryEditorProps<DataSource, Query, Options>) {
  const { expr = '', legend = '', withStreaming = true } = query;
  const styles = useStyles2(getStyles);
  const names = useMemo(() => new Names(datasource, range), [datasource, range]);
  const canBuild = useMemo(() => toVisual(expr) !== undefined, [expr]);
  const wanted = query.editorMode ?? (canBuild ? 'builder' : 'code');
  const mode = canBuild ? wanted : 'code';
  const [refused, setRefused] = useState<string>();

  const save = (change: Partial<Query>) => {
    onChange({ ...query, ...change });
    onRunQuery();
  };
  useEffect(() => {
    // A query of another source, which has no expression: it begins as a new one does.
    const begun = query.expr ?? datasource.getDefaultQuery().expr;
    if (begun !== query.expr) {
      save({ expr: begun });
    }
  });
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
          <Builder expr={expr} names={names} onChange={saveExpr} />
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
        <InlineField
          label="Legend"
          htmlFor={id('legend')}
          tooltip="The name of the series. {{label}} is replaced by the value of the label."
        >
          <LegendField
            id={id('legend')}
            value={legend}
            onChange={(changed) => save({ legend: changed || undefined })}
          />
        </InlineField>
        <StreamingSwitch id={id('withStreaming')} value={withStreaming} onChange={save} />
        <StepHint refId={query.refId} data={data} interval={datasource.sampleInterval} />
      </div>
    </div>
  );
}

/** Saved when one leaves the field or presses Enter. */
function LegendField({ id, value, onChange }: { id: string; value: string; onChange: (value: string) => void }) {
  const [text, setText] = useState(value);
  const [seen, setSeen] = useState(value);
  if (value !== seen) {
    setSeen(value);
    setText(value);
  }
  const commit = () => text.trim() !== value && onChange(text.trim());
  return (
    <Input
      id={id}
      width={30}
      placeholder="{{label}}"
      value={text}
      onChange={({ currentTarget }) => setText(currentTarget.value)}
      onBlur={commit}
      onKeyDown={({ key }) => key === 'Enter' && commit()}
    />
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
