import { DataSourcePluginOptionsEditorProps } from '@grafana/data';
import { BackendSrv, setBackendSrv } from '@grafana/runtime';
import { act, render, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import React, { useState } from 'react';
import { NEVER, Observable, of, throwError } from 'rxjs';
import { Options, Secrets } from '../types';
import { Input } from '../sources/recorder/options';
import { Settings } from './config/settings';
import { InputStatus, Status } from '../sources/recorder/status';
import { ConfigEditor } from './ConfigEditor';

type Props = DataSourcePluginOptionsEditorProps<Options, Secrets>;

/** The page as Grafana holds it: what it changes comes back, and saving raises the version. */
async function open(jsonData: Options = {}, change: Partial<Settings> = {}) {
  let current = { uid: 'mine', version: 1, basicAuth: false, jsonData, secureJsonFields: {}, ...change } as Settings;
  let replace: (settings: Settings) => void = () => undefined;
  function Holder() {
    const [settings, setSettings] = useState(current);
    current = settings;
    replace = setSettings;
    const props: Props = { options: settings, onOptionsChange: setSettings };
    return <ConfigEditor {...props} />;
  }
  render(<Holder />);
  await loaded();
  return {
    saved: () => current.jsonData,
    settings: () => current,
    replace: (other: Partial<Settings>) => act(() => replace({ ...current, ...other })),
  };
}

/** Waits for the settings of the source. */
const loaded = () => waitFor(() => expect(screen.queryByText('Loading …')).toBeNull(), { timeout: 60_000 });

const field = (label: string | RegExp) => screen.getByLabelText<HTMLInputElement>(label);
const startsWith = (label: string) => new RegExp(`^${label}`);

async function enter(label: string, text: string) {
  const input = field(startsWith(label));
  await userEvent.clear(input);
  await userEvent.type(input, text.replace(/[{[]/g, '$&$&'));
  await userEvent.tab();
}

let fetch: jest.Mock<Observable<{ data: Status }>>;

beforeEach(() => {
  fetch = jest.fn(() => NEVER);
  setBackendSrv({ fetch } as unknown as BackendSrv);
});

const choose = (name: string) => userEvent.click(screen.getByRole('radio', { name }));

describe('the source', () => {
  it('is the recorder if none was saved', async () => {
    await open();
    expect(screen.getByRole('radio', { name: 'Recorder' })).toBeChecked();
    expect(screen.getByText('Inputs')).toBeInTheDocument();
  });

  it('decides which settings are shown', async () => {
    const { saved } = await open();
    await choose('Signal');
    expect(saved()).toEqual({ source: 'signal' });
    expect(screen.queryByText('Inputs')).not.toBeInTheDocument();
    expect(screen.getByText('Limits')).toBeInTheDocument();
  });
});

describe('limits', () => {
  const openLimits = async (jsonData: Options) => {
    const page = await open({ source: 'signal', ...jsonData });
    await userEvent.click(screen.getByRole('button', { name: 'Limits' }));
    return page;
  };

  it.each<[string, keyof Options, string, string, number]>([
    ['Minimum step', 'minStep', '10ms', '1s', 1000],
    ['Streams per data source', 'maxStreams', '1000', '25', 25],
    ['Streams per user', 'maxStreamsPerUser', '200', '25', 25],
    ['Rows per query', 'maxRows', '50000', '25', 25],
  ])('has %s, saved as %s', async (label, name, fallback, text, value) => {
    const { saved } = await openLimits({});
    expect(field(startsWith(label))).toHaveAttribute('placeholder', fallback);
    await enter(label, text);
    expect(saved()).toEqual({ source: 'signal', [name]: value });
    await userEvent.clear(field(startsWith(label)));
    await userEvent.tab();
    expect(saved()[name]).toBeUndefined();
  });

  it.each([
    ['Minimum step', '9ms', 'from 10ms to 1d, or nothing for 10ms'],
    ['Minimum step', '25h', 'from 10ms to 1d, or nothing for 10ms'],
    ['Rows per query', '0', 'Rows per query: enter a whole number from 1 to 1000000, or nothing for 50000'],
    ['Streams per data source', '1000001', 'enter a whole number from 1 to 1000000'],
    ['Streams per user', '-', 'enter a whole number'],
  ])('refuses %s of %s', async (label, text, message) => {
    const { saved } = await openLimits({});
    await enter(label, text);
    expect(screen.getByRole('alert')).toHaveTextContent(message);
    expect(field(startsWith(label))).toBeInvalid();
    expect(Object.values(saved())).toEqual(['signal', text]); // for the back end to refuse
  });
});

describe('the recorder', () => {
  it.each<[string, string, string, object]>([
    ['Retention', '15d', '30d', { retention: 2_592_000_000 }],
    ['Maximum size', '10 GiB', '500 MiB', { maxBytes: 524_288_000 }],
    ['Out-of-order window', '7d', '2h', { outOfOrder: 7_200_000 }],
    ['Out-of-order window', '7d', '0s', { outOfOrder: 0 }],
    ['Lookback', '5m', '1h 30m', { lookback: 5_400_000 }],
    ['Wait for late inputs', '2s', '500ms', { maxWait: 500 }],
    ['Samples may be ahead', '10m', '1m', { maxAhead: 60_000 }],
    ['Store nothing below', '1 GiB', '2 GiB', { diskLow: 2_147_483_648 }],
    ['Close the store below', '256 MiB', '128 MiB', { diskCritical: 134_217_728 }],
    ['Stop when not used', '30d', '60d', { idleStop: 5_184_000_000 }],
    ['Interval', '1s', '500 ms', { hostInterval: 500 }],
  ])('has %s', async (label, fallback, text, recorder) => {
    const { saved } = await open();
    expect(field(startsWith(label))).toHaveAttribute('placeholder', fallback);
    await enter(label, text);
    expect(saved()).toEqual({ recorder });
  });

  it('shows what was saved in words', async () => {
    await open({ recorder: { retention: 86_400_000, maxBytes: 1e9 } });
    expect(field(/^Retention/)).toHaveValue('1d');
    expect(field(/^Maximum size/)).toHaveValue('1 GB');
  });

  it('says what to enter only when one has left the field, and saves invalid text as it is', async () => {
    const { saved } = await open();
    await userEvent.type(field(/^Retention/), '15');
    expect(screen.queryByRole('alert')).not.toBeInTheDocument();
    await userEvent.tab();
    expect(screen.getByRole('alert')).toHaveTextContent(
      'Retention: enter a duration such as 90s, 12h or 15d, from 1h to 3650d, or nothing for 15d',
    );
    expect(saved()).toEqual({ recorder: { retention: '15' } });
    await userEvent.type(field(/^Retention/), 'd');
    expect(screen.queryByRole('alert')).not.toBeInTheDocument();
    await userEvent.keyboard('{Enter}');
    expect(saved()).toEqual({ recorder: { retention: 1_296_000_000 } });
  });

  it('moves nothing on the page while a mouse button is down, so that the button that is pressed gets its click', async () => {
    const user = userEvent.setup();
    await open();
    await user.type(field(/^Retention/), '15');
    const button = screen.getByRole('button', { name: 'Delete all samples' });
    await user.pointer({ keys: '[MouseLeft>]', target: button });
    expect(field(/^Retention/)).not.toHaveFocus();
    expect(screen.queryByRole('alert')).not.toBeInTheDocument();
    await user.pointer({ keys: '[/MouseLeft]', target: button });
    expect(screen.getByRole('alert')).toHaveTextContent('Retention: enter a duration');
  });

  it('has the defaults of fields that depend on one that is invalid', async () => {
    await open();
    await enter('Retention', '15 minutes');
    await enter('Store nothing below', 'much');
    for (const [label, fallback] of [
      ['Out-of-order window', '7d'],
      ['Stop when not used', '30d'],
      ['Close the store below', '256 MiB'],
      ["Rules' retention", '730d'],
    ] as const) {
      expect(field(startsWith(label))).toHaveAttribute('placeholder', fallback);
    }
  });

  it('says so when what was saved has become invalid through another field', async () => {
    await open({ recorder: { outOfOrder: 7_200_000 } });
    await enter('Retention', '1h');
    expect(screen.getByRole('alert')).toHaveTextContent('Out-of-order window: enter');
  });

  it('follows what is changed from elsewhere', async () => {
    const { replace } = await open({ recorder: { retention: 3_600_000 } });
    replace({ jsonData: { recorder: { retention: 7_200_000 } } });
    expect(field(/^Retention/)).toHaveValue('2h');
  });

  it('leaves this machine out', async () => {
    const { saved } = await open();
    await userEvent.click(screen.getByRole('checkbox', { name: /This machine/ }));
    expect(saved()).toEqual({ recorder: { noHost: true } });
    expect(screen.queryByLabelText(/^Interval/)).not.toBeInTheDocument();
    await userEvent.click(screen.getByRole('checkbox', { name: /This machine/ }));
    expect(saved()).toEqual({ recorder: { noHost: undefined } });
  });

  it('cannot be changed where it is provisioned', async () => {
    await open({ recorder: { inputs: [{ type: 'mqtt', name: 'plant' }] } }, { readOnly: true });
    expect(field(/^Retention/)).toBeDisabled();
    expect(screen.getByRole('checkbox', { name: /This machine/ })).toBeDisabled();
    expect(screen.getByRole('button', { name: 'Add input' })).toBeDisabled();
    expect(screen.queryByRole('button', { name: 'Remove plant' })).not.toBeInTheDocument();
  });
});

describe('the status', () => {
  const HOST: InputStatus = {
    name: 'host',
    state: 'recording',
    since: 0,
    stored: 0,
    samples: 123_456,
    late: 0,
    repeated: 0,
    refused: { future: 0, tooOld: 0, duplicate: 0, recorded: 0 },
    rate: 79.25,
  };
  const PLANT: InputStatus = {
    ...HOST,
    name: 'plant',
    samples: 9,
    messages: 21,
    refused: { future: 3, tooOld: 0, duplicate: 4, recorded: 0 },
    refusedFirst: { duplicate: 'v{b="b"} 2 @ 2026-01-01T00:00:00Z' },
    skipped: { 'not a number': { count: 12, example: 'abc' } },
    last: { from: 'a/b', payload: '{"v":1}', samples: ['v{b="b"} 1 @ 2026-01-01T00:00:00Z'] },
  };
  const STATUS: Status = { inputs: [HOST, PLANT], series: 1234, bytes: 3 * 2 ** 20, oldest: 0, settled: 0 };
  const refused = (error: object) => throwError(() => ({ status: 502, config: {}, ...error }));
  const tick = (ms: number) => act(() => jest.advanceTimersByTimeAsync(ms));

  beforeEach(() => {
    jest.useFakeTimers({ now: new Date('2026-01-02T00:00:00Z') });
    fetch.mockImplementation(() => of({ data: STATUS }));
  });
  afterEach(() => jest.useRealTimers());

  const row = (name: string) => within(screen.getByText(name, { selector: 'td' }).closest('tr')!);

  it('is asked for every two seconds, and shows the store and its inputs', async () => {
    await open();
    await tick(0);
    expect(fetch).toHaveBeenCalledTimes(1);
    expect(fetch).toHaveBeenCalledWith(
      expect.objectContaining({ url: '/api/datasources/uid/mine/resources/status', showErrorAlert: false }),
    );
    expect(screen.getByText('1,234')).toBeInTheDocument();
    expect(screen.getByText('3.0 MiB')).toBeInTheDocument();
    expect(row('host').getByText('Recording')).toBeInTheDocument();
    expect(row('host').getByText('79.3')).toBeInTheDocument();
    expect(row('host').getByText('123,456')).toBeInTheDocument();
    expect(row('plant').getByText('21')).toBeInTheDocument();
    expect(row('plant').getByText('7')).toBeInTheDocument();
    fetch.mockImplementation(() => of({ data: { ...STATUS, series: 7777, settled: Date.now() - 350 } }));
    await tick(2000);
    expect(fetch).toHaveBeenCalledTimes(2);
    expect(screen.getByText('7,777')).toBeInTheDocument();
    expect(screen.getByText('350 ms ago')).toBeInTheDocument();
  });

  it('shows why samples were refused and messages skipped, and what the last one became', async () => {
    await open();
    await tick(0);
    act(() => row('plant').getByRole('button').click());
    expect(screen.getByText(/Refused, too far ahead/).parentElement).toHaveTextContent(/: 3$/);
    expect(screen.getByText(/Refused, another value/).parentElement).toHaveTextContent(
      ': 4, the first: v{b="b"} 2 @ 2026-01-01T00:00:00Z',
    );
    expect(screen.getByText(/Skipped, not a number/).parentElement).toHaveTextContent(': 12, the first: abc');
    expect(screen.getByText('{"v":1}').parentElement).toHaveTextContent('from a/b');
    expect(screen.getByText('v{b="b"} 1 @ 2026-01-01T00:00:00Z')).toBeInTheDocument();
    await tick(2000);
    expect(screen.getByText('{"v":1}')).toBeInTheDocument();
  });

  it('names trouble, and an input that is connecting', async () => {
    const trouble = 'connection refused';
    const inputs: InputStatus[] = [
      { ...HOST, state: 'connecting' },
      { ...PLANT, state: 'down', since: Date.now(), trouble, nextTry: Date.now() + 4000 },
      { ...PLANT, name: 'quiet', state: 'waiting', silent: ['a/#', 'b/+'] },
      { ...PLANT, name: 'texts', state: 'unstored', since: Date.now() },
    ];
    fetch.mockImplementation(() => of({ data: { ...STATUS, inputs, fleeting: 'the folder /x lies in memory' } }));
    await open();
    await tick(0);
    expect(screen.getByText('the folder /x lies in memory.')).toBeInTheDocument();
    expect(row('host').getByText('Connecting')).toBeInTheDocument();
    expect(row('plant').getByText('No connection')).toBeInTheDocument();
    expect(screen.getByText(/plant: connection refused \(since .*, tries again in 4 s\)/)).toBeInTheDocument();
    expect(row('quiet').getByText('Connected, no messages yet')).toBeInTheDocument();
    expect(screen.getByText('quiet: nothing has come from a/#, b/+ yet')).toBeInTheDocument();
    expect(row('texts').getByText('Receives, records nothing')).toBeInTheDocument();
    expect(screen.getByText(/texts: no message has become a sample \(since/)).toBeInTheDocument();
  });

  it('stays while it cannot be read, with an error message', async () => {
    await open();
    await tick(0);
    fetch.mockImplementation(() => refused({ data: { error: 'the store is locked' } }));
    await tick(2000);
    expect(screen.getByText('The status cannot be read: the store is locked')).toBeInTheDocument();
    expect(screen.getByText('1,234')).toBeInTheDocument();
    fetch.mockImplementation(() => refused({ data: undefined, statusText: 'Bad Gateway' }));
    await tick(2000);
    expect(screen.getByText('The status cannot be read: Bad Gateway')).toBeInTheDocument();
    fetch.mockImplementation(() => of({ data: STATUS }));
    await tick(2000);
    expect(screen.queryByText(/cannot be read/)).not.toBeInTheDocument();
  });

  it('is not asked for before the data source was saved as a recorder, nor after the page was left', async () => {
    const { replace } = await open({ source: 'signal' });
    replace({ jsonData: { source: 'recorder' } });
    await tick(5000);
    expect(fetch).not.toHaveBeenCalled();
    replace({ version: 2 });
    await tick(0);
    expect(fetch).toHaveBeenCalledTimes(1);
    replace({ jsonData: { source: 'signal' } });
    await tick(5000);
    expect(fetch).toHaveBeenCalledTimes(1);
  });
});

describe('deleting', () => {
  const press = (name: string) => userEvent.click(screen.getByRole('button', { name }));
  const answer = (data: object) => fetch.mockImplementation(() => of({ data: data as Status }));
  const requests = (path: string) =>
    fetch.mock.calls
      .map(([request]: unknown[]) => request as { method?: string; url: string })
      .filter(({ url }) => url.includes(path))
      .map(({ method, url }) => `${method} ${url.replace('/api/datasources/uid/mine/resources/', '')}`);

  it('deletes all samples once one has confirmed it', async () => {
    await open();
    await press('Delete all samples');
    await press('Keep them');
    await press('Delete all samples');
    expect(requests('store')).toEqual([]);
    answer({});
    await press('Delete for good');
    expect(await screen.findByText('All samples have been deleted')).toBeInTheDocument();
    expect(requests('store')).toEqual(['DELETE store']);
  });

  it('deletes series by selector, once one has seen how many and confirmed it', async () => {
    await open();
    expect(screen.getByRole('button', { name: 'Delete series' })).toBeDisabled();
    await userEvent.type(field(/^Delete series/), 'up{{a="&"}');
    answer({ series: 0 });
    await press('Delete series');
    expect(await screen.findByText('No series match')).toBeInTheDocument();
    answer({ series: 1234 });
    await press('Delete series');
    expect(
      await screen.findByText(
        'All samples of 1,234 series that match up{a="&"} will be deleted for good. Recording goes on.',
      ),
    ).toBeInTheDocument();
    await press('Delete for good');
    expect(
      await screen.findByText('All samples of 1,234 series that match up{a="&"} have been deleted'),
    ).toBeInTheDocument();
    const url = 'series?match=up%7Ba%3D%22%26%22%7D&from=0&to=9007199254740991';
    expect(requests('series')).toEqual([`GET ${url}`, `GET ${url}`, `DELETE ${url}`]);
  });

  it('says why it failed', async () => {
    await open();
    await press('Delete all samples');
    fetch.mockImplementation(() => throwError(() => ({ status: 403, config: {}, data: { error: 'only editors' } })));
    await press('Delete for good');
    expect(await screen.findByText('The samples could not be deleted: only editors')).toBeInTheDocument();
    await userEvent.type(field(/^Delete series/), 'up');
    await press('Delete series');
    expect(await screen.findByText('The series could not be counted: only editors')).toBeInTheDocument();
  });
});

describe('an input', () => {
  const MQTT: Input = { type: 'mqtt', name: 'plant', url: 'tcp://broker:1883', topics: ['a/+', 'b/#'] };
  const withInputs = async (inputs: Input[], change: Partial<Settings> = {}) => {
    const page = await open({ recorder: { inputs } }, change);
    return { ...page, inputs: () => page.saved().recorder?.inputs };
  };
  const press = (name: RegExp | string) => userEvent.click(screen.getByRole('button', { name }));
  /** Opens the card of the only input. */
  const unfold = () => press(/MQTT|NATS|WebSocket|Push/);

  it.each([
    ['MQTT', [{ type: 'mqtt', name: 'mqtt', rules: { version: 4 } }]],
    ['NATS', [{ type: 'nats', name: 'nats', rules: { version: 4 } }]],
    ['WebSocket', [{ type: 'websocket', name: 'websocket', rules: { version: 4 } }]],
    ['Push', [{ type: 'push', name: 'push', formats: ['influx', 'prometheus'] }]],
  ])('of %s is added, and open', async (label, wanted) => {
    const { inputs } = await withInputs([]);
    await press('Add input');
    await userEvent.click(screen.getByRole('menuitem', { name: new RegExp(`^${label}`) }));
    expect(inputs()).toEqual(wanted);
    expect(field(/^Name/)).toHaveValue(wanted[0]!.name);
  });

  it.each([
    ['MQTT', { type: 'mqtt', name: 'mqtt', url: 'tcp://localhost:1883', topics: ['sensors/#'] }],
    ['NATS', { type: 'nats', name: 'nats', url: 'nats://localhost:4222', subjects: ['sensors.>'] }],
    ['WebSocket', { type: 'websocket', name: 'websocket', url: 'ws://localhost:8080/stream' }],
    ['Push', { type: 'push', name: 'push', formats: ['influx', 'prometheus'] }],
  ])('of %s is offered to a new recorder, with an example', async (label, wanted) => {
    const { inputs } = await withInputs([]);
    await press(label);
    expect(inputs()).toMatchObject([wanted]);
    expect(field(/^Name/)).toHaveValue(wanted.name);
    expect(screen.queryByText(/Each begins with an example/)).not.toBeInTheDocument();
  });

  it('of the type push can be added only once', async () => {
    await withInputs([{ type: 'push', name: 'push' }]);
    await press('Add input');
    expect(screen.getByRole('menuitem', { name: /^Push/ })).toBeDisabled();
  });

  it('of MQTT is edited', async () => {
    const { inputs } = await withInputs([MQTT]);
    await unfold();
    expect(field(/^Topics/)).toHaveValue('a/+\nb/#');
    await enter('URL', 'mqtts://other:8883');
    await enter('User', 'me');
    await enter('Topics', 'c/d');
    await enter('Client ID', 'x');
    await userEvent.click(screen.getByRole('radio', { name: '2' }));
    await userEvent.click(screen.getByRole('radio', { name: '3.1.1' }));
    expect(inputs()).toEqual([
      {
        ...MQTT,
        url: 'mqtts://other:8883',
        user: 'me',
        topics: ['c/d'],
        clientId: 'x',
        qos: 2,
        version: '3.1.1',
      },
    ]);
  });

  it('of NATS is edited', async () => {
    const { inputs } = await withInputs([{ type: 'nats', name: 'bus' }]);
    await unfold();
    await enter('URL', 'nats://a:4222, nats://b:4222');
    await enter('Subjects', 'plant.*.>');
    await enter('Stream', 'PLANT');
    expect(inputs()).toEqual([
      { type: 'nats', name: 'bus', url: 'nats://a:4222, nats://b:4222', subjects: ['plant.*.>'], stream: 'PLANT' },
    ]);
    expect(screen.getByLabelText(/^Credentials/)).toBeInTheDocument();
  });

  it('of WebSocket is edited, its headers as lines', async () => {
    const { inputs, settings } = await withInputs([{ type: 'websocket', name: 'ticks' }]);
    await unfold();
    await enter('URL', 'wss://server/stream');
    await enter('Message on connect', '{"subscribe": 1}');
    await enter('Token', 'secret');
    await enter('Ping interval', '10s');
    await enter('Maximum size of a message', '512 KiB');
    await enter('Headers', 'Authorization');
    expect(screen.getByRole('alert')).toHaveTextContent('Headers: enter one Name: value a line');
    await enter('Headers', 'Authorization: Bearer x:y\nX-Key: 1');
    expect(inputs()).toEqual([
      {
        type: 'websocket',
        name: 'ticks',
        url: 'wss://server/stream',
        send: '{"subscribe": 1}',
        pingInterval: 10_000,
        maxBytes: 524_288,
      },
    ]);
    expect(settings().secureJsonData).toEqual({
      'input.ticks.headers': '{"Authorization":"Bearer x:y","X-Key":"1"}',
      'input.ticks.token': 'secret',
    });
    // After closing and opening the card, the typed headers are still there.
    await unfold();
    await unfold();
    expect(field(/^Headers/)).toHaveValue('Authorization: Bearer x:y\nX-Key: 1');
  });

  it('of push shows where to push to', async () => {
    const { inputs } = await withInputs([{ type: 'push', name: 'push', formats: ['influx'] }]);
    await unfold();
    const at = 'http://localhost/api/datasources/uid/mine/resources/push/';
    expect(field('URL for Influx line protocol')).toHaveValue(`${at}influx`);
    await userEvent.click(screen.getByRole('checkbox', { name: /Prometheus remote write/ }));
    expect(field('URL for Prometheus remote write')).toHaveValue(`${at}prometheus`);
    await enter('Maximum samples per second', '500');
    expect(inputs()).toEqual([
      { type: 'push', name: 'push', formats: ['influx', 'prometheus'], samplesPerSecond: 500 },
    ]);
    expect(screen.getByText(/service account with the role Editor/)).toBeInTheDocument();
  });

  it('has rules for its messages', async () => {
    const { inputs } = await withInputs([MQTT]);
    await unfold();
    await userEvent.click(screen.getByRole('radio', { name: 'JSON' }));
    await enter('Pattern', 'plant/+line');
    await enter('Metric name', '{{line}}_{{field}}');
    await enter('Time key', 'ts');
    await userEvent.click(screen.getByRole('radio', { name: 'ms' }));
    await enter('Fixed labels', 'site=north\nhall = a=b');
    await enter('States', 'mode\npump.state');
    await enter('Words', 'locked=1\nnot home = 0.5');
    await enter('Ends', 'offline');
    await enter('Maximum series', '5');
    expect(inputs()).toEqual([
      {
        ...MQTT,
        rules: {
          states: ['mode', 'pump.state'],
          words: { locked: 1, 'not home': 0.5 },
          ends: ['offline'],
          format: 'json',
          pattern: 'plant/+line',
          metric: '{{line}}_{{field}}',
          timeKey: 'ts',
          timeUnit: 'ms',
          labels: { site: 'north', hall: 'a=b' },
          maxSeries: 5,
        },
      },
    ]);
  });

  it.each<[string, string, string]>([
    ['URL', 'broker', 'URL: enter an address such as tcp://broker:1883'],
    ['URL', 'tcp://me:secret@broker', 'URL: enter user and password in the fields below, not in the address'],
    ['URL', '', 'URL: enter a value'],
    ['Topics', 'a/b+', 'Topics: “a/b+” is no topic'],
    ['Topics', 'a/#/b', 'Topics: “a/#/b” is no topic'],
    ['Fixed labels', 'a=1\na=2', 'Fixed labels: enter a only once'],
    ['Fixed labels', 'a b=1', 'Fixed labels: enter one site=north a line'],
    ['Words', 'locked=x', 'Words: enter a number for locked'],
  ])('refuses %s of %j', async (label, text, message) => {
    const { inputs } = await withInputs([MQTT]);
    await unfold();
    if (text) {
      await enter(label, text);
      expect(inputs()).not.toEqual([MQTT]); // invalid text is saved, for the back end to refuse,
      expect(JSON.stringify(inputs())).not.toContain('secret'); // but no password, because viewers could read it
    } else {
      await userEvent.clear(field(startsWith(label)));
      await userEvent.tab();
    }
    expect(screen.getByRole('alert')).toHaveTextContent(message);
  });

  it('takes a host with a port for an address', async () => {
    const { inputs } = await withInputs([MQTT]);
    await unfold();
    await enter('URL', '127.0.0.1:18830');
    expect(inputs()).toEqual([{ ...MQTT, url: 'tcp://127.0.0.1:18830' }]);
    expect(screen.queryByRole('alert')).not.toBeInTheDocument();
  });

  it('keeps its secrets under its name', async () => {
    const { settings } = await withInputs([MQTT], { secureJsonFields: { 'input.plant.caCert': true } });
    await unfold();
    await userEvent.type(field('Password'), 'pw');
    await press('TLS');
    expect(field(/^CA certificate/)).toHaveValue('configured');
    await press('Reset');
    await userEvent.type(field(/^CA certificate/), 'PEM');
    expect(settings().secureJsonData).toEqual({ 'input.plant.password': 'pw', 'input.plant.caCert': 'PEM' });
    expect(settings().secureJsonFields).toEqual({ 'input.plant.caCert': false });
  });

  it('is renamed when one leaves the name, and says which secrets are to be entered again', async () => {
    const { settings, inputs } = await withInputs([MQTT], { secureJsonFields: { 'input.plant.password': true } });
    await unfold();
    await userEvent.clear(field(/^Name/));
    await userEvent.type(field(/^Name/), 'hall');
    expect(inputs()).toEqual([MQTT]);
    await userEvent.tab();
    expect(inputs()).toEqual([{ ...MQTT, name: 'hall' }]);
    expect(screen.getByText('Enter again: password')).toBeInTheDocument();
    await userEvent.type(field('Password'), 'pw');
    expect(screen.queryByText(/Enter again/)).not.toBeInTheDocument();
    expect(settings().secureJsonData).toEqual({ 'input.plant.password': '', 'input.hall.password': 'pw' });
  });

  it('is not renamed to an invalid name', async () => {
    const { inputs } = await withInputs([MQTT]);
    await unfold();
    await enter('Name', 'Hall 1');
    expect(screen.getByRole('alert')).toHaveTextContent('Name: enter up to 32 lower-case letters');
    expect(inputs()).toEqual([MQTT]);
  });

  it('is removed, and the cards of the others stay open', async () => {
    const { inputs } = await withInputs([{ type: 'nats', name: 'bus' }, MQTT]);
    await press(/^plant MQTT/);
    await press(/^Remove bus/);
    expect(inputs()).toEqual([MQTT]);
    expect(field(/^Name/)).toHaveValue('plant');
  });
});

describe.each(['Prometheus-compatible server', 'Metrics API'])('of a %s', (source) => {
  const openServer = async (jsonData: Options = {}, change: Partial<Settings> = {}) => {
    const page = await open({ source: 'signal', ...jsonData }, change);
    await userEvent.click(screen.getByRole('radio', { name: source }));
    await loaded();
    return page;
  };
  const press = (name: RegExp | string) => userEvent.click(screen.getByRole('button', { name }));
  const tick = (name: RegExp) => userEvent.click(screen.getByRole('checkbox', { name }));

  it('user and password are saved where the SDK reads them', async () => {
    const { settings } = await openServer();
    await tick(/^Basic authentication/);
    await enter('User', 'me');
    await userEvent.type(field('Password'), 'pw');
    expect(settings()).toMatchObject({
      basicAuth: true,
      basicAuthUser: 'me',
      secureJsonData: { basicAuthPassword: 'pw' },
    });
  });

  it('certificates are saved where the SDK reads them, and forgotten when unticked', async () => {
    const { settings, saved } = await openServer({ tlsAuth: true }, { secureJsonFields: { tlsClientKey: true } });
    await tick(/^CA certificate/);
    await userEvent.type(field('Certificate of the CA'), 'PEM');
    await enter('Server name', 'server');
    await tick(/^Skip verification/);
    await tick(/^Client certificate/);
    expect(saved()).toMatchObject({
      tlsAuth: false,
      tlsAuthWithCACert: true,
      tlsSkipVerify: true,
      serverName: 'server',
    });
    expect(settings().secureJsonData).toEqual({ tlsCACert: 'PEM', tlsClientKey: '' });
    expect(settings().secureJsonFields).toEqual({ tlsClientKey: false });
  });

  it('headers and the timeout are saved where the SDK reads them', async () => {
    const { settings, saved } = await openServer();
    await press('Add header');
    expect(saved()).not.toHaveProperty('httpHeaderName1'); // without a name it would make requests fail
    await enter('Header \\*', 'X-Scope-OrgID');
    await userEvent.type(field('Value'), 'me');
    await enter('Timeout', 'a while');
    expect(saved()).toMatchObject({ timeout: 'a while' }); // for the back end to refuse
    expect(field(/^Timeout/)).toHaveValue('a while');
    await enter('Timeout', '1m');
    expect(saved()).toMatchObject({ httpHeaderName1: 'X-Scope-OrgID', timeout: 60 });
    expect(settings().secureJsonData).toEqual({ httpHeaderValue1: 'me' });
    await press('Remove header X-Scope-OrgID');
    expect(saved()).not.toHaveProperty('httpHeaderName1');
    expect(settings().secureJsonData).toEqual({});
  });

  it('headers say which values are to be entered again once one before them is removed', async () => {
    await openServer(
      { httpHeaderName1: 'A', httpHeaderName2: 'B' },
      { secureJsonFields: { httpHeaderValue1: true, httpHeaderValue2: true } },
    );
    await press('Remove header A');
    expect(screen.getByText('Enter the values again: B')).toBeInTheDocument();
    await userEvent.type(field('Value'), 'anew');
    expect(screen.queryByText(/Enter the values again/)).not.toBeInTheDocument();
  });
});

describe('a Prometheus-compatible server', () => {
  it('has an address and what its queries need', async () => {
    const { settings, saved } = await open({ source: 'prometheus' });
    await enter('URL', 'http://prometheus:9090');
    await enter('Scrape interval', '30s');
    await enter('Delay', '1ms');
    await enter('Lookback', '10m');
    await enter('Query timeout', '1m');
    await userEvent.click(screen.getByRole('radio', { name: 'GET' }));
    expect(settings().url).toBe('http://prometheus:9090');
    expect(saved().prometheus).toEqual({
      interval: 30_000,
      delay: 1,
      lookback: 600_000,
      queryTimeout: 60_000,
      httpMethod: 'GET',
    });
  });
});

describe('a metrics API', () => {
  it('has an endpoint and a key', async () => {
    const { settings, saved } = await open({ source: 'metrics-api' });
    await enter('Endpoint', 'https://metrics.example.com/api');
    await userEvent.type(field(/^API key/), 'key');
    await enter('Header of the key', 'X-API-Key');
    await enter('Delay', '5s');
    expect(saved().metricsApi).toEqual({
      endpoint: 'https://metrics.example.com/api',
      keyHeader: 'X-API-Key',
      delay: 5000,
    });
    expect(settings().secureJsonData).toEqual({ apiKey: 'key' });
  });

  it('tells what the service answers', async () => {
    await open({ source: 'metrics-api' });
    await userEvent.click(screen.getByRole('button', { name: 'What the service answers' }));
    expect(screen.getByText('GET /latest?metric=temperature')).toBeInTheDocument();
  });
});
