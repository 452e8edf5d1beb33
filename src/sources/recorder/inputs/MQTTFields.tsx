import { Grid } from '@grafana/ui';
import React from 'react';
import { MQTTInput } from '../options';
import { ChoiceField, LinesField, TextField } from '../../../components/config/fields';
import { addressError, withScheme } from '../../../components/config/address';
import { InputFieldsProps, secretKey } from './inputs';
import { RulesFields } from './RulesFields';
import { SecretField } from '../../../components/config/SecretField';
import { TLSFields } from './TLSFields';

const SCHEMES = ['tcp', 'ssl', 'mqtt', 'mqtts', 'ws', 'wss'];

const QOS: Array<{ value: 0 | 1 | 2; label: string; description: string }> = [
  { value: 0, label: '0', description: 'At most once: what comes while Grafana is down is lost.' },
  { value: 1, label: '1', description: 'At least once: the broker keeps what comes while Grafana is down.' },
  { value: 2, label: '2', description: 'Exactly once, with more traffic. The broker keeps what comes meanwhile.' },
];

const VERSIONS = [
  { value: '5' as const, label: '5' },
  { value: '3.1.1' as const, label: '3.1.1' },
];

export function MQTTFields({ settings, onChange, input, onInputChange }: InputFieldsProps<MQTTInput>) {
  const disabled = settings.readOnly;
  return (
    <>
      <TextField
        label="URL"
        description="Of the broker. ssl://, mqtts:// and wss:// are encrypted."
        placeholder="tcp://broker:1883"
        required
        value={input.url}
        disabled={disabled}
        complete={(text) => withScheme(text, 'tcp')}
        check={(text) => addressError([text], SCHEMES, 'tcp://broker:1883')}
        onChange={(url) => onInputChange({ url })}
      />
      <Grid columns={{ xs: 1, md: 2 }} columnGap={4}>
        <TextField label="User" value={input.user} disabled={disabled} onChange={(user) => onInputChange({ user })} />
        <SecretField
          settings={settings}
          onChange={onChange}
          secret={secretKey(input.name, 'password')}
          label="Password"
        />
      </Grid>
      <LinesField
        label="Topics"
        description="One a line. + stands for any one level, # at the end for all that follow."
        placeholder="plant/+/temperature"
        required
        value={input.topics}
        disabled={disabled}
        check={topicError}
        onChange={(topics) => onInputChange({ topics })}
      />
      <Grid columns={{ xs: 1, md: 2 }} columnGap={4}>
        <ChoiceField
          label="Quality of service"
          options={QOS}
          value={input.qos ?? 1}
          disabled={disabled}
          onChange={(qos) => onInputChange({ qos })}
        />
        <ChoiceField
          label="Protocol version"
          description="Newer brokers speak both."
          options={VERSIONS}
          value={input.version ?? '5'}
          disabled={disabled}
          onChange={(version) => onInputChange({ version })}
        />
      </Grid>
      <TextField
        label="Client ID"
        description="Only for brokers that ask for a certain one. It must be this input's alone: two clients with one ID throw each other out."
        placeholder="Its own"
        value={input.clientId}
        disabled={disabled}
        onChange={(clientId) => onInputChange({ clientId })}
      />
      <RulesFields
        input={input}
        uid={settings.uid}
        disabled={disabled}
        pattern={{ from: 'topic', example: 'plant/+line/+sensor' }}
        onChange={(rules) => onInputChange({ rules })}
      />
      <TLSFields settings={settings} onChange={onChange} input={input} onInputChange={onInputChange} />
    </>
  );
}

function topicError(topic: string): string | undefined {
  const levels = topic.split('/');
  const whole = levels.every((level) => /^(\+|#|[^+#]*)$/.test(level));
  return whole && !levels.slice(0, -1).includes('#')
    ? undefined
    : `“${topic}” is no topic: enter + as a whole level, and # as the last one only`;
}
