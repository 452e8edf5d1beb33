import { QueryEditorProps } from '@grafana/data';
import { Alert, InlineField, Stack } from '@grafana/ui';
import React, { useMemo } from 'react';
import type { DataSource } from '../datasource';
import { Names } from './names';
import type { Options, Query } from '../types';
import { syntaxErrors } from './tree';
import { variableError, type VariableQuery, variableQuery } from './variableQuery';
import { Choice } from '../components/Choice';
import { labelsOf } from './Builder';
import { CodeField } from './CodeField';

const KINDS = [
  { value: 'labelValues', label: 'Label values', description: 'Values that a label has' },
  { value: 'labelNames', label: 'Label names', description: 'Labels that series have' },
  { value: 'metrics', label: 'Metrics', description: 'Names of metrics' },
  { value: 'queryResult', label: 'Query result', description: 'Series of a query, each with its newest value' },
];

const isBroken = (expr: string) => syntaxErrors(expr).length > 0;
const BROKEN = 'This is not valid PromQL: what is underlined cannot be there, or something is missing.';

/** The editor of a variable's query. */
export function VariableEditor({
  datasource,
  query: saved,
  range,
  onChange,
}: QueryEditorProps<DataSource, Query, Options, VariableQuery>) {
  const query = variableQuery(saved);
  const error = variableError(saved);
  const { kind = 'labelValues', label, match = '', expr = '' } = query;
  const names = useMemo(() => new Names(datasource, range), [datasource, range]);
  const change = (part: Partial<VariableQuery>) =>
    onChange({ ...query, kind, ...part, refId: query.refId || 'variable' });

  return (
    <Stack direction="column" gap={0.5}>
      {error && <Alert severity="error" title={error} />}
      <InlineField label="Values from" labelWidth={16}>
        <Choice
          label="Values from"
          width={30}
          options={KINDS}
          value={kind}
          onChange={(value) => change({ kind: value as VariableQuery['kind'] })}
        />
      </InlineField>
      {kind === 'labelValues' && (
        <InlineField label="Label" labelWidth={16}>
          <Choice
            label="Label"
            placeholder="Choose a label"
            width={30}
            options={labelsOf(names, match || undefined)}
            value={label}
            onChange={(value) => change({ label: value })}
          />
        </InlineField>
      )}
      {kind === 'queryResult' ? (
        <InlineField
          label="Query"
          labelWidth={16}
          invalid={isBroken(expr)}
          error={BROKEN}
          tooltip="PromQL. Each value is a series with its labels, value and time; a regular expression below takes a part of it."
          grow
        >
          <CodeField
            expr={expr}
            names={names}
            placeholder="topk(5, rate(node_disk_read_bytes_total[$__range]))"
            onCommit={(text) => text !== expr && change({ expr: text })}
          />
        </InlineField>
      ) : (
        <InlineField
          label="Series"
          labelWidth={16}
          invalid={isBroken(match)}
          error={BROKEN}
          tooltip="Only series that this selects are looked at; all of them if it is empty."
          grow
        >
          <CodeField
            expr={match}
            names={names}
            placeholder={'node_cpu_seconds_total{mode="user"}'}
            onCommit={(text) => text !== match && change({ match: text.trim() || undefined })}
          />
        </InlineField>
      )}
    </Stack>
  );
}
