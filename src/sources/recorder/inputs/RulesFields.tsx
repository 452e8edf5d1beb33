import { CollapsableSection, Grid } from '@grafana/ui';
import React from 'react';
import { Rules } from '../options';
import { ChoiceField, NumberField, PairsField, TextField } from '../../../components/config/fields';

const FORMATS = [
  { value: 'auto' as const, label: 'Any', description: 'Each message is read as what it looks like.' },
  { value: 'number' as const, label: 'Number', description: 'Such as 21.5, or a word such as true, on or open.' },
  { value: 'json' as const, label: 'JSON', description: 'Each number in a message becomes a series.' },
  { value: 'influx' as const, label: 'Influx', description: 'Line protocol, as Telegraf sends it.' },
];

const UNITS = [
  { value: 'auto' as const, label: 'By size' },
  { value: 's' as const, label: 's' },
  { value: 'ms' as const, label: 'ms' },
  { value: 'us' as const, label: 'µs' },
  { value: 'ns' as const, label: 'ns' },
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
  const save = (change: Rules) => onChange({ ...rules, ...change });

  return (
    <CollapsableSection label="Messages" isOpen={true}>
      <Grid columns={{ xs: 1, md: 2 }} columnGap={4}>
        <ChoiceField
          label="Format"
          options={FORMATS}
          value={rules.format ?? 'auto'}
          disabled={disabled}
          onChange={(format) => save({ format })}
        />
        {pattern && (
          <TextField
            label="Pattern"
            description={`Makes levels of the ${pattern.from} labels. What does not fit is not recorded.`}
            placeholder={pattern.example}
            value={rules.pattern}
            disabled={disabled}
            onChange={(value) => save({ pattern: value })}
          />
        )}
        <TextField
          label="Metric name"
          description={`May hold {{field}}, {{level}} (the last that is no label) and names of labels.`}
          placeholder="{{field}}, or {{level}} if there is none"
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
          description="Where JSON has the time: header_ts is ts in header."
          placeholder="Time of arrival"
          value={rules.timeKey}
          disabled={disabled}
          onChange={(value) => save({ timeKey: value })}
        />
        <ChoiceField
          label="Unit of the time"
          description="Of numbers at the time key or in line protocol. RFC 3339 needs none."
          options={UNITS}
          value={rules.timeUnit ?? 'auto'}
          disabled={disabled}
          onChange={(timeUnit) => save({ timeUnit })}
        />
      </Grid>
      <PairsField
        label="Fixed labels"
        description="For every series of this input, one a line."
        placeholder="site=north"
        pairs={{ separator: '=', name: /^(?!__)[a-zA-Z_]\w*$/, example: 'site=north' }}
        value={rules.labels}
        disabled={disabled}
        onChange={(value) => save({ labels: value })}
      />
    </CollapsableSection>
  );
}
