import { Grid } from '@grafana/ui';
import React from 'react';
import { NATSInput } from '../options';
import { LinesField, TextField } from '../../../components/config/fields';
import { addressError, withScheme } from '../../../components/config/address';
import { InputFieldsProps, secretKey } from './inputs';
import { RulesFields } from './RulesFields';
import { SecretField } from '../../../components/config/SecretField';
import { TLSFields } from './TLSFields';

const SCHEMES = ['nats', 'tls', 'ws', 'wss'];

export function NATSFields({ settings, onChange, input, onInputChange }: InputFieldsProps<NATSInput>) {
  const disabled = settings.readOnly;
  const secret = (key: string) => ({ settings, onChange, secret: secretKey(input.name, key) });
  return (
    <>
      <TextField
        label="URL"
        description="Of the server, or of several of a cluster with commas between them. tls:// and wss:// are encrypted."
        placeholder="nats://server:4222"
        required
        value={input.url}
        disabled={disabled}
        complete={(text) =>
          text
            .split(',')
            .map((one) => withScheme(one, 'nats'))
            .join(',')
        }
        check={(text) => addressError(text.split(','), SCHEMES, 'nats://server:4222')}
        onChange={(url) => onInputChange({ url })}
      />
      <LinesField
        label="Subjects"
        description="One a line. * stands for any one token, > at the end for all that follow."
        placeholder="plant.*.temperature"
        required
        value={input.subjects}
        disabled={disabled}
        check={subjectError}
        onChange={(subjects) => onInputChange({ subjects })}
      />
      <TextField
        label="Stream"
        description="Of JetStream. With it, what was published while Grafana was down is recorded afterwards. Without it, messages come from the subjects directly."
        placeholder="None"
        value={input.stream}
        disabled={disabled}
        onChange={(stream) => onInputChange({ stream })}
      />
      <Grid columns={{ xs: 1, md: 2 }} columnGap={4}>
        <TextField label="User" value={input.user} disabled={disabled} onChange={(user) => onInputChange({ user })} />
        <SecretField {...secret('password')} label="Password" />
      </Grid>
      <SecretField {...secret('token')} label="Token" description="Instead of user and password." />
      <SecretField
        {...secret('credentials')}
        label="Credentials"
        description="The content of a .creds file, instead of user and password."
        placeholder="-----BEGIN NATS USER JWT-----"
        rows={4}
      />
      <RulesFields
        input={input}
        uid={settings.uid}
        disabled={disabled}
        pattern={{ from: 'subject', example: 'plant.+line.+sensor' }}
        onChange={(rules) => onInputChange({ rules })}
      />
      <TLSFields settings={settings} onChange={onChange} input={input} onInputChange={onInputChange} />
    </>
  );
}

function subjectError(subject: string): string | undefined {
  const tokens = subject.split('.');
  const whole = tokens.every((token) => /^(\*|>|[^*>\s]+)$/.test(token));
  return whole && !tokens.slice(0, -1).includes('>')
    ? undefined
    : `“${subject}” is no subject: enter * as a whole token, > as the last one only, and no space or empty token`;
}
