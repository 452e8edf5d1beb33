import { Input, type MQTTInput, type NATSInput, withRecorder } from '../options';
import { secretsOf, isConfigured, typedSecret, withoutSecret, withSecret } from '../../../components/config/secrets';
import { PartProps, Settings } from '../../../components/config/settings';

interface InputType {
  value: Input['type'];
  label: string;
  description: string;
  example: Example;
}

/** What an input can begin with. */
type Example = Partial<Pick<MQTTInput, 'topics'> & Pick<NATSInput, 'subjects'> & { url: string }>;

export const TYPES: InputType[] = [
  {
    value: 'mqtt',
    label: 'MQTT',
    description: 'Subscribes to topics of a broker',
    example: { url: 'tcp://localhost:1883', topics: ['sensors/#'] },
  },
  {
    value: 'nats',
    label: 'NATS',
    description: 'Subscribes to subjects, or reads a JetStream stream',
    example: { url: 'nats://localhost:4222', subjects: ['sensors.>'] },
  },
  {
    value: 'websocket',
    label: 'WebSocket',
    description: 'Reads the messages of a WebSocket server',
    example: { url: 'ws://localhost:8080/stream' },
  },
  { value: 'push', label: 'Push', description: 'Takes what Telegraf or Prometheus send to Grafana', example: {} },
];

/** An example in a line. */
export const exampleText = ({ url = 'room,place=hall temperature=21.5', topics = [], subjects = [] }: Example) =>
  [url, ...topics, ...subjects].join(' · ');

/** What the fields of each kind of input get. */
export interface InputFieldsProps<T extends Input> extends PartProps {
  input: T;
  onInputChange: (change: Partial<T>) => void;
}

export const inputsOf = (settings: Settings): Input[] => settings.jsonData.recorder?.inputs ?? [];

const withInputs = (settings: Settings, inputs: Input[]) => withRecorder(settings, { inputs });

const prefixOf = (name: string) => `input.${name}.`;

/** Forgets all secrets of a name, also those of an input that was removed elsewhere than in this editor. */
const withoutSecrets = (settings: Settings, name: string): Settings =>
  secretsOf(settings, prefixOf(name)).reduce(withoutSecret, settings);

/** Where the secret of an input is kept. */
export const secretKey = (name: string, secret: string): string => prefixOf(name) + secret;

/** The name of the input that records this machine. */
const HOST = 'host';

/** What is wrong with the name of an input among those of the others, and what to do. */
export function nameError(name: string, others: string[]): string | undefined {
  if (!/^[a-z0-9][a-z0-9_-]{0,31}$/.test(name)) {
    return 'Name: enter up to 32 lower-case letters, digits, - and _, beginning with a letter or digit';
  }
  return others.includes(name) || name === HOST ? `Name: “${name}” is taken, enter another one` : undefined;
}

/** The version of rules that new inputs have. */
export const RULES_VERSION = 4;

function freeName(settings: Settings, wanted: string): string {
  const taken = inputsOf(settings).map(({ name }) => name);
  let name = wanted;
  for (let n = 2; taken.includes(name); n++) {
    name = `${wanted.slice(0, 31 - String(n).length)}-${n}`;
  }
  return name;
}

const append = (settings: Settings, input: Input): Settings =>
  withInputs(withoutSecrets(settings, input.name), [...inputsOf(settings), input]);

/** Appends an input of the type, named after it. */
export function addInput(settings: Settings, type: Input['type'], example: Example = {}): Settings {
  const name = freeName(settings, type);
  return append(
    settings,
    type === 'push'
      ? { type, name, formats: ['influx', 'prometheus'] }
      : { type, name, ...example, rules: { version: RULES_VERSION } },
  );
}

/** Appends a copy of an input, without its secrets, because these cannot be read. */
export function duplicateInput(settings: Settings, index: number): Settings {
  const input = inputsOf(settings)[index]!;
  return append(settings, { ...input, name: freeName(settings, input.name) });
}

export const changeInput = (settings: Settings, index: number, input: Input): Settings =>
  withInputs(
    settings,
    inputsOf(settings).map((old, i) => (i === index ? input : old)),
  );

/** Removes an input with its secrets. */
export function removeInput(settings: Settings, index: number): Settings {
  const inputs = inputsOf(settings);
  return withInputs(
    withoutSecrets(settings, inputs[index]!.name),
    inputs.filter((_, i) => i !== index),
  );
}

/**
 * Renames an input. Secrets that were just typed move along. Secrets that Grafana keeps cannot be read, so they are
 * cleared and named in `lost`.
 */
export function renameInput(settings: Settings, index: number, name: string): { settings: Settings; lost: string[] } {
  const input = inputsOf(settings)[index]!;
  let renamed = withoutSecrets(changeInput(settings, index, { ...input, name }), name);
  const lost: string[] = [];
  for (const key of secretsOf(settings, prefixOf(input.name))) {
    const secret = key.slice(prefixOf(input.name).length);
    const typed = typedSecret(settings, key);
    if (typed) {
      renamed = withSecret(renamed, secretKey(name, secret), typed);
    } else if (isConfigured(settings, key)) {
      lost.push(secret);
    }
    renamed = withoutSecret(renamed, key);
  }
  return { settings: renamed, lost };
}
