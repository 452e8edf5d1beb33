import { dateTimeFormat, dateTimeFormatTimeAgo, formattedValueToString, getValueFormat } from '@grafana/data';
import { Alert, Badge, Column, FieldSet, Icon, InteractiveTable, Stack, Text, Tooltip } from '@grafana/ui';
import React, { ReactNode } from 'react';
import { Code } from '../../components/Code';
import { InputStatus, Polled, Status } from './status';

/** The status of the recorder and of each of its inputs. */
export function RecorderStatus({ status, at = 0, error }: Polled) {
  return (
    <FieldSet label="Status">
      {error && <Alert severity="error" title={`The status cannot be read: ${error}`} />}
      {status && (
        <Stack direction="column" gap={2}>
          <Facts status={status} at={at} />
          {status.stops !== undefined && status.stops > 0 && status.stops <= at && (
            <Alert severity="warning" title="Nothing is recorded">
              Nobody asked for samples for long. Recording goes on with the next query of a panel or an alert rule.
            </Alert>
          )}
          {status.notReady && <Alert severity="error" title={`Nothing is recorded: ${status.notReady}`} />}
          {status.fleeting && (
            <Alert severity="warning" title="What is recorded may be gone after the next start">
              {status.fleeting}.
            </Alert>
          )}
          {status.removed && (
            <Alert severity="info" title="Samples ahead of this machine's clock were deleted">
              {count(status.removed.samples)} samples from {dateTimeFormat(status.removed.from)} to{' '}
              {dateTimeFormat(status.removed.to)}, on {dateTimeFormat(status.removed.at)}.
            </Alert>
          )}
          <InteractiveTable
            columns={COLUMNS}
            data={status.inputs ?? NONE}
            getRowId={({ name }) => name}
            headerTooltips={TOOLTIPS}
            renderExpandedRow={(input) => <Details input={input} />}
          />
          {status.inputs?.map((input) => (
            <Remark key={input.name} input={input} at={at} />
          ))}
        </Stack>
      )}
      {!status && !error && <Text color="secondary">Asking the recorder …</Text>}
    </FieldSet>
  );
}

const NONE: InputStatus[] = [];

const TOOLTIPS = {
  late: { content: 'Samples that came after their time was shown as final. They are stored, and panels ask afresh.' },
  refused: {
    content:
      'Samples that were not stored: from the future, too old, another value for a stored time, or with the name of a rule.',
  },
  skipped: { content: 'Messages that could not be recorded. Open the row to see why.' },
};

const COLUMNS: Array<Column<InputStatus>> = [
  { id: 'name', header: 'Input', disableGrow: true },
  { id: 'state', header: 'State', cell: ({ row }) => <StateBadge input={row.original} /> },
  { id: 'rate', header: 'Samples/s', cell: ({ row }) => <Count>{count(row.original.rate, 1)}</Count> },
  { id: 'samples', header: 'Samples', cell: ({ row }) => <Count>{count(row.original.samples)}</Count> },
  { id: 'messages', header: 'Messages', cell: ({ row }) => <Count>{count(row.original.messages ?? 0)}</Count> },
  { id: 'late', header: 'Late', cell: ({ row }) => <Count>{count(row.original.late)}</Count> },
  { id: 'refused', header: 'Refused', cell: ({ row }) => <Count>{count(refusedBy(row.original))}</Count> },
  { id: 'skipped', header: 'Skipped', cell: ({ row }) => <Count>{count(skippedBy(row.original))}</Count> },
];

const Count = ({ children }: { children: string }) => <Text tabular>{children}</Text>;

const refusedBy = ({ refused }: InputStatus) => refused.future + refused.tooOld + refused.duplicate + refused.recorded;
const skippedBy = ({ skipped = {} }: InputStatus) => Object.values(skipped).reduce((sum, { count }) => sum + count, 0);

/** The state of an input as a badge. */
export function StateBadge({ input: { state, trouble } }: { input: InputStatus }) {
  switch (state) {
    case 'connecting':
      return <Badge color="orange" icon="sync" text="Connecting" />;
    case 'down':
      return <Badge color="red" icon="exclamation-triangle" text="No connection" />;
    case 'unstored':
      return <Badge color="red" icon="exclamation-triangle" text="Receives, records nothing" />;
    case 'waiting':
      return trouble ? TROUBLE : <Badge color="blue" icon="hourglass" text="Connected, no messages yet" />;
    case 'recording':
      return trouble ? TROUBLE : <Badge color="green" icon="check" text="Recording" />;
  }
}

const TROUBLE = <Badge color="orange" icon="exclamation-triangle" text="Trouble" />;

/** The trouble of an input, or the topics that it has got nothing from. */
function Remark({ input: { name, state, since, trouble, nextTry = 0, silent = [], lastError }, at }: RemarkProps) {
  const why = trouble ?? (state === 'unstored' ? (lastError ?? 'no message has become a sample') : undefined);
  if (why) {
    const details = [
      ...(state === 'down' || state === 'unstored' ? [`since ${dateTimeFormat(since)}`] : []),
      ...(nextTry > at ? [`tries again in ${Math.ceil((nextTry - at) / 1000)} s`] : []),
    ];
    return (
      <Text element="p" color="error">
        {name}: {why}
        {details.length > 0 && ` (${details.join(', ')})`}
      </Text>
    );
  }
  return state !== 'connecting' && silent.length > 0 ? (
    <Text element="p" color="secondary">
      {name}: nothing has come from {silent.join(', ')} yet
    </Text>
  ) : null;
}

interface RemarkProps {
  input: InputStatus;
  at: number;
}

function Facts({ status: { series, bytes, diskFree, oldest, settled, stops }, at }: { status: Status; at: number }) {
  const age = Math.max(0, at - settled);
  return (
    <Stack direction="row" wrap="wrap" gap={4}>
      <Fact name="Series">{count(series)}</Fact>
      <Fact name="On disk">{formattedValueToString(getValueFormat('bytes')(bytes, 1))}</Fact>
      {diskFree !== undefined && diskFree > 0 && (
        <Fact name="Free">{formattedValueToString(getValueFormat('bytes')(diskFree, 1))}</Fact>
      )}
      <Fact name="Oldest sample">{oldest > 0 ? timeWithAge(Math.min(oldest, at)) : 'none yet'}</Fact>
      <Fact
        name="Settled"
        help="Rows are final up to then. Newer ones wait until every input has delivered: at most for the time under “Wait for late inputs”."
      >
        {settled > 0 ? `${formattedValueToString(getValueFormat('ms')(age))} ago` : 'not yet'}
      </Fact>
      {stops !== undefined && stops > 0 && <Fact name="Stops if not used">{timeWithAge(stops)}</Fact>}
    </Stack>
  );
}

function Fact({ name, help, children }: { name: string; help?: string; children: ReactNode }) {
  return (
    <Stack direction="column" gap={0}>
      <Text variant="bodySmall" color="secondary">
        {name}{' '}
        {help && (
          <Tooltip content={help}>
            <Icon name="info-circle" size="sm" tabIndex={0} aria-label={`What ${name} means`} />
          </Tooltip>
        )}
      </Text>
      <Text tabular>{children ?? ''}</Text>
    </Stack>
  );
}

function Details({ input }: { input: InputStatus }) {
  const { refused, refusedFirst = {}, skipped = {}, last, lastError, repeated } = input;
  const reasons = [
    { reason: 'too far ahead of the clock', count: refused.future, first: refusedFirst.future },
    {
      reason: 'older than the out-of-order window or the retention',
      count: refused.tooOld,
      first: refusedFirst.tooOld,
    },
    { reason: 'another value for a stored time', count: refused.duplicate, first: refusedFirst.duplicate },
    { reason: 'a recording rule has this name', count: refused.recorded, first: refusedFirst.recorded },
  ].filter((r) => r.count > 0);
  const nothing = !lastError && !last && reasons.length === 0 && Object.keys(skipped).length === 0;

  return (
    <Stack direction="column" gap={1}>
      {nothing && <Text color="secondary">Nothing was refused or skipped.</Text>}
      {lastError && <Detail name="Last error">{lastError}</Detail>}
      {repeated > 0 && <Detail name="Repeated, stored already with the same time and value">{count(repeated)}</Detail>}
      {reasons.map(({ reason, count: n, first }) => (
        <Detail key={reason} name={`Refused, ${reason}`}>
          {count(n)}
          <First example={first} />
        </Detail>
      ))}
      {Object.entries(skipped).map(([reason, { count: n, example }]) => (
        <Detail key={reason} name={`Skipped, ${reason}`}>
          {count(n)}
          <First example={example} />
        </Detail>
      ))}
      {last && (
        <>
          <Detail name="Last message">
            <Code>{last.payload}</Code>
            {last.from && (
              <>
                {' '}
                from <Code>{last.from}</Code>
              </>
            )}
          </Detail>
          <Detail name="It became">
            {last.samples?.length
              ? last.samples.map((s) => (
                  <div key={s}>
                    <Code>{s}</Code>
                  </div>
                ))
              : 'nothing that was stored'}
          </Detail>
        </>
      )}
    </Stack>
  );
}

/** What was the first of many. Viewers do not get it. */
function First({ example }: { example?: string }) {
  return example ? (
    <>
      , the first: <Code>{example}</Code>
    </>
  ) : null;
}

function Detail({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div style={{ overflowWrap: 'anywhere' }}>
      <Text color="secondary">{name}: </Text>
      {children}
    </div>
  );
}

/** A number for people. */
export const count = (n: number, decimals = 0) => formattedValueToString(getValueFormat('locale')(n, decimals));

const timeWithAge = (ms: number) => `${dateTimeFormat(ms)} (${dateTimeFormatTimeAgo(ms)})`;
