import { QueryEditorProps } from '@grafana/data';
import { InlineField, Input, Stack, TextArea } from '@grafana/ui';
import React, { KeyboardEvent, useState } from 'react';
import { DataSource } from '../datasource';
import { Options, Query } from '../types';
import { StreamingSwitch } from './StreamingSwitch';

/** The expression is saved and run on blur and on Enter; Shift+Enter begins a new line. */
export function PromQLEditor({ query, onChange, onRunQuery }: QueryEditorProps<DataSource, Query, Options>) {
  const { expr = '', legend = '', withStreaming = true } = query;
  const [draft, setDraft] = useState({ expr, legend });
  const [seen, setSeen] = useState({ expr, legend });
  if (expr !== seen.expr || legend !== seen.legend) {
    setSeen({ expr, legend }); // changed from elsewhere, or by saving the draft
    setDraft({ expr, legend });
  }

  const save = (change: Partial<Query>) => {
    onChange({ ...query, ...change });
    onRunQuery();
  };
  const commit = () => {
    if (draft.expr !== expr || draft.legend !== legend) {
      save({ expr: draft.expr, legend: draft.legend.trim() || undefined });
    }
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      commit();
    }
  };
  const id = (name: string) => `continuum-${query.refId}-${name}`;

  return (
    <Stack direction="column" gap={0.5}>
      <InlineField
        label="PromQL"
        htmlFor={id('expr')}
        tooltip="$__interval, $__rate_interval and $__range are expanded by the back end."
        grow
      >
        <TextArea
          id={id('expr')}
          rows={rowsOf(draft.expr)}
          placeholder="rate(node_cpu_seconds_total[$__rate_interval])"
          value={draft.expr}
          onChange={({ currentTarget }) => setDraft({ ...draft, expr: currentTarget.value })}
          onBlur={commit}
          onKeyDown={onKeyDown}
        />
      </InlineField>
      <Stack direction="row" wrap="wrap" gap={0.5}>
        <InlineField
          label="Legend"
          htmlFor={id('legend')}
          tooltip="The name of the series. {{label}} is replaced by the value of the label."
        >
          <Input
            id={id('legend')}
            width={40}
            placeholder="{{label}}"
            value={draft.legend}
            onChange={({ currentTarget }) => setDraft({ ...draft, legend: currentTarget.value })}
            onBlur={commit}
            onKeyDown={onKeyDown}
          />
        </InlineField>
        <StreamingSwitch id={id('withStreaming')} value={withStreaming} onChange={save} />
      </Stack>
    </Stack>
  );
}

/** Roughly: a line that is too long for one row takes another. */
function rowsOf(expr: string): number {
  const rows = expr.split('\n').reduce((sum, line) => sum + 1 + Math.floor(line.length / 100), 0);
  return Math.min(10, rows);
}
