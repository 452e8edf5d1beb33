import { Combobox, CollapsableSection, Field, Grid } from '@grafana/ui';
import React, { useId } from 'react';
import { Rules } from '../../types';
import { NumberField, PairsField, TextField } from './fields';

const FORMATS = [
  { value: 'auto' as const, label: 'By content', description: 'Each message as what it looks like' },
  { value: 'number' as const, label: 'Number', description: '21.5, and words such as true, on or open' },
  { value: 'json' as const, label: 'JSON', description: 'Each number in it becomes a series' },
  { value: 'influx' as const, label: 'Influx line protocol', description: 'As Telegraf sends it' },
];

const UNITS = [
  { value: 'auto' as const, label: 'By size', description: 'Told by how large the number is' },
  { value: 's' as const, label: 'Seconds' },
  { value: 'ms' as const, label: 'Milliseconds' },
  { value: 'us' as const, label: 'Microseconds' },
  { value: 'ns' as const, label: 'Nanoseconds' },
];

interface Props {
  rules?: Rules;
  onChange: (rules: Rules) => void;
  disabled?: boolean;
  /** Where messages come from and an example of a pattern for it; none where they come from one place only. */
  pattern?: { from: string; example: string };
}

/** How messages become samples. */
export function RulesFields({ rules = {}, onChange, disabled, pattern }: Props) {
  const formatId = useId();
  const unitId = useId();
  const save = (change: Rules) => onChange({ ...rules, ...change });

  return (
    <CollapsableSection label="Messages" isOpen={true}>
      <Grid columns={{ xs: 1, md: 2 }} columnGap={4}>
        <Field label="Format" description="How a message is read." htmlFor={formatId}>
          <Combobox
            id={formatId}
            options={FORMATS}
            value={rules.format ?? 'auto'}
            disabled={disabled}
            onChange={({ value }) => save({ format: value })}
          />
        </Field>
        {pattern && (
          <TextField
            label="Pattern"
            description={`Makes labels of the levels of the ${pattern.from}: those that begin with + are named after it.`}
            placeholder={pattern.example}
            value={rules.pattern}
            disabled={disabled}
            onChange={(value) => save({ pattern: value })}
          />
        )}
        <TextField
          label="Metric name"
          description="{{label}} and {{field}} are replaced by a label's value and by the name of the number in the message."
          placeholder="By content"
          value={rules.metric}
          disabled={disabled}
          onChange={(value) => save({ metric: value })}
        />
        <NumberField
          label="Maximum series"
          description="Messages that would make more are skipped and counted."
          width={undefined}
          value={rules.maxSeries}
          least={1}
          most={1_000_000}
          fallback={10_000}
          disabled={disabled}
          onChange={(value) => save({ maxSeries: value })}
        />
        <TextField
          label="Time key"
          description="The key in the message that has its time, such as header_ts for ts in header. Without it a message has the time of its arrival."
          value={rules.timeKey}
          disabled={disabled}
          onChange={(value) => save({ timeKey: value })}
        />
        <Field
          label="Unit of the time"
          description="Of numbers below the time key. Texts such as 2026-01-31T12:00:00Z are read as well."
          htmlFor={unitId}
        >
          <Combobox
            id={unitId}
            options={UNITS}
            value={rules.timeUnit ?? 'auto'}
            disabled={disabled ?? !rules.timeKey}
            onChange={({ value }) => save({ timeUnit: value })}
          />
        </Field>
      </Grid>
      <PairsField
        label="Fixed labels"
        description="For every series of this input, one a line."
        placeholder="site=north"
        pairs={{ separator: '=', name: /^[a-zA-Z_]\w*$/, example: 'site=north' }}
        value={rules.labels}
        disabled={disabled}
        onChange={(value) => save({ labels: value })}
      />
    </CollapsableSection>
  );
}
