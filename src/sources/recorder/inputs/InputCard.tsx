import { Alert, Badge, Collapse, Field, IconButton, Input as TextInput, Stack, Text } from '@grafana/ui';
import React, { useId, useState } from 'react';
import { Input } from '../options';
import { changeInput, InputFieldsProps, inputsOf, nameError, renameInput, secretKey, TYPES } from './inputs';
import { MQTTFields } from './MQTTFields';
import { NATSFields } from './NATSFields';
import { PushFields } from './PushFields';
import { StateBadge } from '../RecorderStatus';
import { useDraft } from '../../../components/useDraft';
import { typedSecret } from '../../../components/config/secrets';
import { PartProps } from '../../../components/config/settings';
import { InputStatus } from '../status';
import { WebSocketFields } from './WebSocketFields';

interface Props extends PartProps {
  index: number;
  /** The status of the input, if it runs. */
  state?: InputStatus;
  isNew: boolean;
  onDuplicate: () => void;
  onRemove: () => void;
}

const SECRETS: Record<string, string> = {
  password: 'password',
  token: 'token',
  credentials: 'credentials',
  headers: 'headers',
  caCert: 'CA certificate',
  clientCert: 'client certificate',
  clientKey: 'client key',
};

/** One input, in a card that opens and closes. */
export function InputCard({ settings, onChange, index, state, isNew, onDuplicate, onRemove }: Props) {
  const input = inputsOf(settings)[index]!;
  const others = inputsOf(settings).flatMap(({ name }, i) => (i === index ? [] : name));
  const [open, setOpen] = useState(isNew);
  const [lost, setLost] = useState<string[]>([]);
  const missing = lost.filter((secret) => !typedSecret(settings, secretKey(input.name, secret)));

  return (
    <Collapse
      isOpen={open}
      onToggle={() => setOpen(!open)}
      label={
        <Stack direction="row" alignItems="center" gap={1} grow={1}>
          <Text>{input.name}</Text>
          <Badge color="blue" text={TYPES.find(({ value }) => value === input.type)?.label ?? input.type} />
          {state && <StateBadge input={state} />}
          <Stack grow={1} minWidth={0}>
            <Text color="secondary" variant="bodySmall">
              {summaryOf(input)}
            </Text>
          </Stack>
          {!settings.readOnly && input.type !== 'push' && (
            <IconButton
              name="copy"
              tooltip={`Duplicate ${input.name}, without its secrets`}
              onClick={(event) => {
                event.stopPropagation();
                onDuplicate();
              }}
            />
          )}
          {!settings.readOnly && (
            <IconButton
              name="trash-alt"
              tooltip={`Remove ${input.name}. What it recorded stays.`}
              onClick={(event) => {
                event.stopPropagation();
                onRemove();
              }}
            />
          )}
        </Stack>
      }
    >
      <NameField
        name={input.name}
        description={KNOWN[input.type]}
        others={others}
        disabled={settings.readOnly}
        onRename={(name) => {
          const renamed = renameInput(settings, index, name);
          setLost([...missing, ...renamed.lost]);
          onChange(renamed.settings);
        }}
      />
      {missing.length > 0 && (
        <Alert severity="warning" title={`Enter again: ${missing.map((s) => SECRETS[s] ?? s).join(', ')}`}>
          What Grafana keeps encrypted cannot move to another name. To keep it, reload this page without saving.
        </Alert>
      )}
      <Fields
        settings={settings}
        onChange={onChange}
        input={input}
        onInputChange={(change) => onChange(changeInput(settings, index, { ...input, ...change }))}
      />
    </Collapse>
  );
}

function Fields({ input, ...props }: InputFieldsProps<Input>) {
  switch (input.type) {
    case 'mqtt':
      return <MQTTFields {...props} input={input} />;
    case 'nats':
      return <NATSFields {...props} input={input} />;
    case 'websocket':
      return <WebSocketFields {...props} input={input} />;
    case 'push':
      return <PushFields {...props} input={input} />;
  }
}

/** Who else knows an input by its name. */
const KNOWN: Partial<Record<Input['type'], string>> = {
  mqtt: 'The broker knows the input by it too: renamed, it is a new client.',
  nats: 'The server knows the input by it too: renamed, it is a new consumer.',
};

interface NameFieldProps {
  name: string;
  description?: string;
  others: string[];
  disabled?: boolean;
  onRename: (name: string) => void;
}

/** Renames the input when the user leaves the field and not with each letter, because its secrets move along. */
function NameField({ name, description, others, disabled, onRename }: NameFieldProps) {
  const id = useId();
  const errorOf = (text: string) => nameError(text.trim(), others);
  const { draft, setDraft, handlers } = useDraft(name, (text) => {
    if (!errorOf(text) && text.trim() !== name) {
      onRename(text.trim());
    }
  });
  const error = errorOf(draft);
  return (
    <Field label="Name" description={description} htmlFor={id} invalid={error !== undefined} error={error}>
      <TextInput
        id={id}
        width={40}
        value={draft}
        disabled={disabled}
        onChange={({ currentTarget }) => setDraft(currentTarget.value)}
        {...handlers}
      />
    </Field>
  );
}

function summaryOf(input: Input): string {
  if (input.type === 'push') {
    return (input.formats ?? []).join(', ');
  }
  return input.url ?? 'no address yet';
}
