import { getBackendSrv } from '@grafana/runtime';
import { Alert, Button, Field, IconButton, Input as TextInput, Stack, Text, TextArea } from '@grafana/ui';
import { upperFirst } from 'lodash';
import React, { useEffect, useId, useState } from 'react';
import { selector } from '../../../promql/text';
import { MQTTInput, NATSInput, Rule, WebSocketInput } from '../options';
import { messageOf } from '../status';
import { decodePayload, Node, topicTree, Topic } from './topics';

interface Sample {
  metric: string;
  labels?: Record<string, string>;
  value: number;
  time: number;
  arrived?: boolean;
}

export interface Suggestion {
  text: string;
  /** The index of the rule for some topics, -1 for the rule for all others. */
  rule: number;
  change: Rule;
}

interface Outcome {
  samples: Sample[];
  skipped?: Record<string, { count: number; example: string }>;
  suggestions?: Suggestion[];
}

interface Message {
  topic: string;
  payload?: string;
  data?: string;
}

interface Props {
  input: MQTTInput | NATSInput | WebSocketInput;
  uid: string;
  disabled?: boolean;
  /** Whether messages come from a topic or a subject. Absent if they have neither. */
  from?: string;
  onApply: (suggestion: Suggestion) => void;
}

/** How long after the last key a preview is asked for, in ms. */
const CALM = 300;

const resource = (uid: string, path: string) => `/api/datasources/uid/${uid}/resources/inputs/${path}`;

/** Shows what a message becomes under the rules that are being edited. */
export function MessagePreview({ input, uid, disabled, from, onApply }: Props) {
  const topicId = useId();
  const payloadId = useId();
  const [topics, setTopics] = useState<Topic[]>([]);
  const [messages, setMessages] = useState<Message[]>([{ topic: '', payload: '' }]);
  const [outcome, setOutcome] = useState<Outcome | { error: string }>();
  const first = messages[0]!;
  const body = JSON.stringify({ type: input.type, rules: input.rules ?? {}, messages });
  const asked = Boolean(first.payload ?? first.data);

  const look = async () => {
    try {
      setTopics(
        await getBackendSrv().get<Topic[]>(resource(uid, `${input.name}/topics`), undefined, undefined, {
          showErrorAlert: false,
        }),
      );
    } catch (error) {
      setOutcome({ error: messageOf(error) });
    }
  };

  useEffect(() => {
    if (!asked) {
      return undefined;
    }
    let ended = false;
    const timer = setTimeout(() => {
      getBackendSrv()
        .post<Outcome>(resource(uid, 'preview'), JSON.parse(body), { showErrorAlert: false })
        .then(
          (got) => !ended && setOutcome(got),
          (error: unknown) => !ended && setOutcome({ error: messageOf(error) }),
        );
    }, CALM);
    return () => {
      ended = true;
      clearTimeout(timer);
    };
  }, [uid, body, asked]);

  return (
    <>
      <Text element="h5">What does a message become?</Text>
      <Stack direction="column" gap={1}>
        <Stack direction="row">
          <Button size="sm" variant="secondary" icon="sync" onClick={() => void look()}>
            Show what came lately
          </Button>
        </Stack>
        {topics.length > 0 && (
          <TopicTree
            node={topicTree(topics, input.type === 'nats' ? '.' : '/')}
            onChoose={(topic) => setMessages(topic.last.map(({ data }) => ({ topic: topic.name, data })).reverse())}
          />
        )}
        {from && (
          <Field label={upperFirst(from)} htmlFor={topicId} style={{ marginBottom: 0 }}>
            <TextInput
              id={topicId}
              value={first.topic}
              onChange={({ currentTarget }) => setMessages([{ ...first, topic: currentTarget.value }])}
            />
          </Field>
        )}
        <Field
          label={messages.length > 1 ? `Last of ${messages.length} messages` : 'Message'}
          htmlFor={payloadId}
          style={{ marginBottom: 0 }}
        >
          <TextArea
            id={payloadId}
            rows={4}
            value={textOf(messages[messages.length - 1]!)}
            onChange={({ currentTarget }) => setMessages([{ topic: first.topic, payload: currentTarget.value }])}
          />
        </Field>
        {outcome && <OutcomeList outcome={outcome} disabled={disabled} onApply={onApply} />}
      </Stack>
    </>
  );
}

const textOf = ({ payload, data }: Message): string => payload ?? decodePayload(data ?? '');

interface OutcomeProps {
  outcome: Outcome | { error: string };
  disabled?: boolean;
  onApply: (suggestion: Suggestion) => void;
}

function OutcomeList({ outcome, disabled, onApply }: OutcomeProps) {
  if ('error' in outcome) {
    return <Alert severity="warning" title={outcome.error} />;
  }
  return (
    <>
      {outcome.suggestions?.map((suggestion) => (
        <Stack key={suggestion.text} direction="row" alignItems="center" gap={1}>
          <Button size="sm" variant="secondary" icon="check" disabled={disabled} onClick={() => onApply(suggestion)}>
            Apply
          </Button>
          <Text>{suggestion.text}</Text>
        </Stack>
      ))}
      {outcome.samples.length > 0 && (
        <table className="filter-table">
          <thead>
            <tr>
              <th>Series</th>
              <th>Value</th>
              <th>Time</th>
            </tr>
          </thead>
          <tbody>
            {outcome.samples.map((sample, index) => (
              <tr key={index}>
                <td>{seriesOf(sample)}</td>
                <td>{sample.value}</td>
                <td>{sample.arrived ? 'when it arrives' : new Date(sample.time).toISOString()}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {Object.entries(outcome.skipped ?? {}).map(([reason, { count, example }]) => (
        <Text key={reason} color="secondary" variant="bodySmall">
          {`Not recorded: ${reason} (${count}): ${example}`}
        </Text>
      ))}
    </>
  );
}

function seriesOf({ metric, labels }: Sample): string {
  const matchers = Object.entries(labels ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([label, value]) => ({ label, op: '=', value }));
  return selector(metric, matchers);
}

/** How wide the icon is that opens and closes a level, with the gap after it. */
const TOGGLE = 28;

/** Topics as a tree of levels. Levels with many others below begin closed. */
function TopicTree({ node, onChoose }: { node: Node; onChoose: (topic: Topic) => void }) {
  return (
    <Stack direction="column" gap={0}>
      {node.below.map((below) => (
        <Level key={below.name} node={below} depth={0} onChoose={onChoose} />
      ))}
    </Stack>
  );
}

function Level({ node, depth, onChoose }: { node: Node; depth: number; onChoose: (topic: Topic) => void }) {
  const [open, setOpen] = useState(node.below.length <= 10);
  const { topic } = node;
  return (
    <>
      <div style={{ paddingLeft: depth * 16 + (node.below.length > 0 ? 0 : TOGGLE) }}>
        <Stack direction="row" alignItems="center" gap={1}>
          {node.below.length > 0 && (
            <IconButton
              name={open ? 'angle-down' : 'angle-right'}
              aria-label={open ? `Close ${node.name}` : `Open ${node.name}`}
              onClick={() => setOpen(!open)}
            />
          )}
          {topic ? (
            <Button size="sm" fill="text" onClick={() => onChoose(topic)}>
              {node.name}
            </Button>
          ) : (
            <Text>{node.name}</Text>
          )}
          {topic && (
            <Text color="secondary" variant="bodySmall" truncate>
              {`${topic.messages} ${topic.messages === 1 ? 'message' : 'messages'}, last ${decodePayload(topic.last[0]?.data ?? '').slice(0, 100)}`}
            </Text>
          )}
        </Stack>
      </div>
      {open && node.below.map((below) => <Level key={below.name} node={below} depth={depth + 1} onChoose={onChoose} />)}
    </>
  );
}
