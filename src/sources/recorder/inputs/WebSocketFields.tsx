import React from 'react';
import { WebSocketInput } from '../options';
import {
  BoundedFields,
  type BoundedSetting,
  formatPairs,
  HEADER_NAME,
  parsePairs,
  TextField,
} from '../../../components/config/fields';
import { addressError, withScheme } from '../../../components/config/address';
import { InputFieldsProps, secretKey } from './inputs';
import { RulesFields } from './RulesFields';
import { SecretField } from '../../../components/config/SecretField';
import { TLSFields } from './TLSFields';
import { HOUR, MIB, SECOND } from '../../../components/config/units';

/** The back end takes a JSON object of names to values. */
const HEADERS = {
  encode: (text: string) => {
    const parsed = parsePairs(text, HEADER);
    return 'error' in parsed ? parsed : { value: JSON.stringify(parsed.value) };
  },
  decode: (secret: string) => formatPairs(JSON.parse(secret) as Record<string, string>, HEADER),
};

const HEADER = { separator: ': ', name: HEADER_NAME, example: 'Name: value' };

const BOUNDED: Array<BoundedSetting<'pingInterval' | 'maxBytes'>> = [
  {
    name: 'pingInterval',
    kind: 'duration',
    label: 'Ping interval',
    description: 'A server that does not answer a ping is connected to anew.',
    least: SECOND,
    most: HOUR,
    fallback: 30 * SECOND,
  },
  {
    name: 'maxBytes',
    kind: 'size',
    label: 'Maximum size of a message',
    description: 'Larger ones are skipped and counted.',
    least: 1024,
    most: MIB,
    fallback: MIB,
  },
];

export function WebSocketFields({ settings, onChange, input, onInputChange }: InputFieldsProps<WebSocketInput>) {
  const disabled = settings.readOnly;
  return (
    <>
      <TextField
        label="URL"
        description="Of the server. wss:// is encrypted."
        placeholder="wss://server/stream"
        required
        value={input.url}
        disabled={disabled}
        complete={(text) => withScheme(text, 'ws')}
        check={(text) => addressError([text], ['ws', 'wss'], 'wss://server/stream')}
        onChange={(url) => onInputChange({ url })}
      />
      <SecretField
        settings={settings}
        onChange={onChange}
        secret={secretKey(input.name, 'headers')}
        label="Headers"
        description="Sent with the request to connect, one a line."
        placeholder="Authorization: Bearer …"
        rows={3}
        codec={HEADERS}
      />
      <TextField
        label="Message on connect"
        description="Sent once connected, for servers that wait for a login or a subscription. Each object of JSON is a message, sent when the one before is answered. Others can read it: write {{token}} for the token."
        placeholder='{"subscribe": "ticks"}'
        rows={3}
        value={input.send}
        disabled={disabled}
        onChange={(send) => onInputChange({ send })}
      />
      <SecretField
        settings={settings}
        onChange={onChange}
        secret={secretKey(input.name, 'token')}
        label="Token"
        description="Takes the place of {{token}} in the message on connect."
      />
      <BoundedFields fields={BOUNDED} values={input} disabled={disabled} onChange={onInputChange} />
      <RulesFields
        input={input}
        uid={settings.uid}
        disabled={disabled}
        onChange={(rules) => onInputChange({ rules })}
      />
      <TLSFields settings={settings} onChange={onChange} input={input} onInputChange={onInputChange} named={false} />
    </>
  );
}
