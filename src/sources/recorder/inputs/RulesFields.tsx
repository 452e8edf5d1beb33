import { Alert, Box, Button, Checkbox, CollapsableSection, Field, Grid, IconButton, Stack, Text } from '@grafana/ui';
import React from 'react';
import { MQTTInput, NATSInput, Rule, Rules, WebSocketInput } from '../options';
import {
  ChoiceField,
  LinesField,
  NumberField,
  NumbersField,
  PairsField,
  TextField,
} from '../../../components/config/fields';
import { DocsLink } from '../../../components/DocsLink';
import { RULES_VERSION } from './inputs';
import { MessagePreview } from './MessagePreview';

const FORMATS = [
  { value: 'auto' as const, label: 'Any', description: 'Each message is read as what it looks like.' },
  {
    value: 'number' as const,
    label: 'Number',
    description: 'Such as 21.5, or a word such as true, on, open or running.',
  },
  { value: 'json' as const, label: 'JSON', description: 'Each number in a message becomes a series.' },
  { value: 'influx' as const, label: 'Influx', description: 'Line protocol, as Telegraf sends it.' },
  { value: 'telegraf' as const, label: 'Telegraf', description: 'Telegraf’s JSON, with its tags as labels.' },
  { value: 'thingsboard' as const, label: 'ThingsBoard', description: 'Telemetry of devices and gateways.' },
  { value: 'sparkplug' as const, label: 'Sparkplug B', description: 'Known by the topic, spBv1.0/…' },
  { value: 'cbor' as const, label: 'CBOR', description: 'As JSON, in bytes.' },
];

const UNITS = [
  { value: 'auto' as const, label: 'By size' },
  { value: 's' as const, label: 's' },
  { value: 'ms' as const, label: 'ms' },
  { value: 'us' as const, label: 'µs' },
  { value: 'ns' as const, label: 'ns' },
];

interface Pattern {
  from: string;
  example: string;
}

interface Props {
  input: MQTTInput | NATSInput | WebSocketInput;
  uid: string;
  onChange: (rules: Rules) => void;
  disabled?: boolean;
  /** Whether messages have a topic or a subject, with an example of a pattern. Absent if they have neither. */
  pattern?: Pattern;
}

/** How messages become samples, and what the last ones become. */
export function RulesFields({ input, uid, onChange, disabled, pattern }: Props) {
  const rules = input.rules ?? {};
  const save = (change: Rules) => onChange({ ...rules, ...change });
  const topics = rules.topics ?? [];
  const saveTopic = (index: number, change: Rule) =>
    save({ topics: topics.map((rule, i) => (i === index ? { ...rule, ...change } : rule)) });

  return (
    <CollapsableSection label="Messages" isOpen={true}>
      <Box marginBottom={2}>
        <Text color="secondary">
          How messages become series. <DocsLink page="inputs.md#messages">By example</DocsLink>, and{' '}
          <DocsLink page="states.md">how texts become states</DocsLink>.
        </Text>
      </Box>
      {rules.version !== RULES_VERSION && (
        <Alert severity="info" title="This input makes names and records as it did when it was made">
          <Stack direction="column" alignItems="flex-start">
            {(rules.version ?? 0) < 2 &&
              'Newer rules keep letters of all scripts and record the objects of an array one by one.'}
            {(rules.version ?? 0) < 3 && ' Messages that are one word, such as running, become states.'}
            {
              ' More senders are known by the shape of their messages, among them SenML. Some series get other names: look at the preview before you save.'
            }
            <Button size="sm" variant="secondary" disabled={disabled} onClick={() => save({ version: RULES_VERSION })}>
              Use the newer rules
            </Button>
          </Stack>
        </Alert>
      )}
      {topics.map((rule, index) => (
        <CollapsableSection
          key={index}
          isOpen={!rule.pattern}
          label={
            <Stack direction="row" alignItems="center" gap={1}>
              <Text>{rule.pattern ?? 'For some topics'}</Text>
              {rule.leaveOut && <Text color="secondary">left out</Text>}
              <IconButton
                name="trash-alt"
                tooltip="Remove this rule"
                disabled={disabled}
                onClick={() => save({ topics: topics.filter((_, i) => i !== index) })}
              />
            </Stack>
          }
        >
          <RuleFields
            rule={rule}
            one={true}
            disabled={disabled}
            pattern={pattern}
            onChange={(change) => saveTopic(index, change)}
          />
        </CollapsableSection>
      ))}
      {pattern && (
        <Box marginBottom={2}>
          <Button
            size="sm"
            variant="secondary"
            icon="plus"
            disabled={disabled}
            onClick={() => save({ topics: [...topics, {}] })}
          >
            Rule for some {pattern.from}s
          </Button>
        </Box>
      )}
      {topics.length > 0 && <Text element="h6">All others</Text>}
      <RuleFields rule={rules} disabled={disabled} pattern={pattern} onChange={save} />
      <PairsField
        label="Units"
        description="Of metrics, by name, one a line. A name such as room_celsius needs none."
        placeholder="temperature=°C"
        pairs={{ separator: '=', name: /\S/, example: 'temperature=°C' }}
        value={rules.units}
        disabled={disabled}
        onChange={(value) => save({ units: value })}
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
      <MessagePreview
        input={input}
        uid={uid}
        disabled={disabled}
        from={pattern?.from}
        onApply={({ rule, change }) => (rule < 0 ? save(change) : saveTopic(rule, change))}
      />
    </CollapsableSection>
  );
}

interface RuleProps {
  rule: Rule;
  onChange: (change: Rule) => void;
  disabled?: boolean;
  pattern?: Pattern;
  /** Whether it is a rule for some topics, and not the one for all others. */
  one?: boolean;
}

function RuleFields({ rule, onChange: save, disabled, pattern, one }: RuleProps) {
  return (
    <>
      {one && (
        <Field>
          <Checkbox
            label="Leave out"
            description="Messages are counted and not recorded."
            value={rule.leaveOut ?? false}
            disabled={disabled}
            onChange={({ currentTarget }) => save({ leaveOut: currentTarget.checked ? true : undefined })}
          />
        </Field>
      )}
      {!rule.leaveOut && (
        <ChoiceField
          label="Format"
          options={FORMATS}
          value={rule.format ?? 'auto'}
          disabled={disabled}
          onChange={(format) => save({ format })}
        />
      )}
      <Grid columns={{ xs: 1, md: 2 }} columnGap={4}>
        {pattern && (
          <TextField
            label="Pattern"
            description={`Makes levels of the ${pattern.from} labels. What does not fit is ${one ? 'for the next rule' : 'not recorded'}.`}
            placeholder={pattern.example}
            required={one}
            value={rule.pattern}
            disabled={disabled}
            onChange={(value) => save({ pattern: value })}
          />
        )}
        {!rule.leaveOut && (
          <>
            <TextField
              label="Metric name"
              description={`May hold {{field}}, {{level}} (the last that is no label) and names of labels.`}
              placeholder="{{field}}, or {{level}} if there is none"
              value={rule.metric}
              disabled={disabled}
              onChange={(value) => save({ metric: value })}
            />
            <TextField
              label="Each"
              description="What has objects that are records of their own: an array, data.values, or an object, devices.*."
              placeholder="The message, if it is an array of objects"
              value={rule.each}
              disabled={disabled}
              onChange={(value) => save({ each: value })}
            />
            <TextField
              label="Time key"
              description="Where a record has its time: time, or meta.time."
              placeholder="Time of arrival"
              value={rule.timeKey}
              disabled={disabled}
              onChange={(value) => save({ timeKey: value })}
            />
            <ChoiceField
              label="Unit of the time"
              description="Of numbers at the time key or in line protocol. Texts need none."
              options={UNITS}
              value={rule.timeUnit ?? 'auto'}
              disabled={disabled}
              onChange={(timeUnit) => save({ timeUnit })}
            />
            <TextField
              label="Time zone"
              description="Of times without one: Europe/Berlin."
              placeholder="UTC"
              value={rule.timezone}
              disabled={disabled}
              onChange={(value) => save({ timezone: value })}
            />
            <TextField
              label="Time layout"
              description="How a text has its time, as Go writes it: 2006-01-02-15:04:05."
              placeholder="ISO 8601 or RFC 1123"
              value={rule.timeLayout}
              disabled={disabled}
              onChange={(value) => save({ timeLayout: value })}
            />
            <TextField
              label="Regular expression"
              description="Reads texts that are no number. Its named groups are fields."
              placeholder="(?P<temperature>[-0-9.]+) ?°C"
              value={rule.regexp}
              disabled={disabled}
              onChange={(value) => save({ regexp: value })}
            />
          </>
        )}
      </Grid>
      {!rule.leaveOut && (
        <>
          <LinesField
            label="Label keys"
            description="Keys whose value becomes a label of what stands beside it, one a line: id, device.id, or tags.* for all of tags."
            placeholder="id"
            value={rule.labelKeys}
            disabled={disabled}
            onChange={(value) => save({ labelKeys: value })}
          />
          <Grid columns={{ xs: 1, md: 2 }} columnGap={4}>
            <LinesField
              label="States"
              description="Keys whose texts are recorded as states, one a line: mode, pump.mode, or * for all. A message that is one word needs none."
              placeholder="mode"
              value={rule.states}
              disabled={disabled}
              onChange={(value) => save({ states: value })}
            />
            <NumbersField
              label="Words"
              description="Texts that stand for a number instead, one a line."
              placeholder="locked=1"
              pairs={{ separator: '=', name: /\S/, example: 'locked=1' }}
              value={rule.words}
              disabled={disabled}
              onChange={(value) => save({ words: value })}
            />
          </Grid>
          <LinesField
            label="Ends"
            description={`Texts that say that a device has gone, one a line, such as a last will: the series of the ${pattern?.from ?? 'topic'} one level up and of all below it end.`}
            placeholder="offline"
            value={rule.ends}
            disabled={disabled}
            onChange={(value) => save({ ends: value })}
          />
          <PairsField
            label="Fixed labels"
            description="For every series, one a line."
            placeholder="site=north"
            pairs={{ separator: '=', name: /^(?!__)[a-zA-Z_]\w*$/, example: 'site=north' }}
            value={rule.labels}
            disabled={disabled}
            onChange={(value) => save({ labels: value })}
          />
        </>
      )}
    </>
  );
}
