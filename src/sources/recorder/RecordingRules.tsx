import { dateTimeFormat } from '@grafana/data';
import { Column, Field, FieldSet, InteractiveTable, Stack, Text, TextArea, TextLink } from '@grafana/ui';
import React, { useId } from 'react';
import { DurationField } from '../../components/config/fields';
import { DAY } from '../../components/config/units';
import { useDraft } from '../../components/useDraft';
import type { SettingsProps } from '../source';
import { type RecorderOptions, withRecorder } from './options';
import type { RuleStatus } from './status';

const YEARS = 730 * DAY;

const EXAMPLE = `groups:
  - name: minutes
    interval: 1m
    rules:
      - record: temp:avg1m
        expr: avg_over_time(temp[1m])`;

interface Props extends Omit<SettingsProps, 'saved'> {
  /** How long samples are kept. */
  retention: number;
  states: RuleStatus[];
}

/** The recording rules of a recorder. The back end checks them when the settings are saved and tested. */
export function RecordingRules({ settings, onChange, retention, states }: Props) {
  const id = useId();
  const { rules = '', rulesRetention } = settings.jsonData.recorder ?? {};
  const disabled = settings.readOnly;
  const save = (change: RecorderOptions) => onChange(withRecorder(settings, change));
  const { draft, setDraft, handlers } = useDraft(rules, (text) =>
    save({ rules: text.trim() === '' ? undefined : text }),
  );

  return (
    <FieldSet label="Recording rules">
      <Field
        label="Rules"
        htmlFor={id}
        description={
          <>
            Keep minutes for years beside seconds for days, in the form of Prometheus&apos; rule files.{' '}
            <TextLink
              href="https://github.com/continuum-live/continuum-datasource/blob/main/docs/rules.md"
              external
              inline
              variant="bodySmall"
            >
              What they may have
            </TextLink>
          </>
        }
      >
        <TextArea
          id={id}
          rows={Math.min(Math.max(draft.split('\n').length, 6), 30)}
          style={{ fontFamily: 'monospace' }}
          spellCheck={false}
          placeholder={EXAMPLE}
          disabled={disabled}
          value={draft}
          onChange={({ currentTarget }) => setDraft(currentTarget.value)}
          onBlur={handlers.onBlur}
        />
      </Field>
      <DurationField
        label="Rules' retention"
        description="What rules have recorded is deleted when it is older than this."
        value={rulesRetention}
        least={retention}
        most={3650 * DAY}
        fallback={Math.max(retention, YEARS)}
        disabled={disabled}
        onChange={(value) => save({ rulesRetention: value })}
      />
      {states.length > 0 && (
        <Stack direction="column" gap={1}>
          <InteractiveTable columns={COLUMNS} data={states} getRowId={({ rule }) => rule} />
          {states.map(({ rule, waiting, lastError }) =>
            (waiting ?? lastError) ? (
              <Text key={rule} element="p" color="error">
                {rule}: {waiting ?? lastError}
              </Text>
            ) : null,
          )}
        </Stack>
      )}
    </FieldSet>
  );
}

const time = (at: number) => (at > 0 ? dateTimeFormat(at) : 'not yet');

const COLUMNS: Array<Column<RuleStatus>> = [
  { id: 'rule', header: 'Rule' },
  { id: 'group', header: 'Group' },
  { id: 'series', header: 'Series' },
  { id: 'from', header: 'From', cell: ({ row }) => time(row.original.from) },
  { id: 'through', header: 'Through', cell: ({ row }) => time(row.original.through) },
  { id: 'seconds', header: 'Took', cell: ({ row }) => `${(row.original.seconds * 1000).toFixed(1)}\u00a0ms` },
  { id: 'corrected', header: 'Corrected' },
  { id: 'failures', header: 'Failures' },
];
