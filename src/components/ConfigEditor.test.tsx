import { DataSourcePluginOptionsEditorProps } from '@grafana/data';
import { BackendSrv, setBackendSrv } from '@grafana/runtime';
import { act, render, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import React, { useState } from 'react';
import { NEVER, Observable, of, throwError } from 'rxjs';
import { Options, Secrets } from '../types';
import { Settings } from './config/settings';
import { InputStatus, Status } from './config/status';
import { ConfigEditor } from './ConfigEditor';

type Props = DataSourcePluginOptionsEditorProps<Options, Secrets>;

/** The page as Grafana holds it: what it changes comes back, and saving raises the version. */
function open(jsonData: Options = {}, change: Partial<Settings> = {}) {
  let current = { uid: 'mine', version: 1, jsonData, secureJsonFields: {}, ...change } as Settings;
  let replace: (settings: Settings) => void = () => undefined;
  function Holder() {
    const [settings, setSettings] = useState(current);
    current = settings;
    replace = setSettings;
    const props: Props = { options: settings, onOptionsChange: setSettings };
    return <ConfigEditor {...props} />;
  }
  render(<Holder />);
  return {
    saved: () => current.jsonData,
    settings: () => current,
    replace: (other: Partial<Settings>) => act(() => replace({ ...current, ...other })),
  };
}

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
  it('is the recorder if none was saved', () => {
    open();
    expect(screen.getByRole('radio', { name: 'Recorder (this machine)' })).toBeChecked();
    expect(screen.getByText('Inputs')).toBeInTheDocument();
  });

  it('decides which settings are shown', async () => {
    const { saved } = open();
    await choose('Signal');
    expect(saved()).toEqual({ source: 'signal' });
    expect(screen.queryByText('Inputs')).not.toBeInTheDocument();
    expect(screen.getByText('Limits')).toBeInTheDocument();
  });
});

describe('a server', () => {
  it('is shown', async () => {
    open();
    await choose('Prometheus-compatible server');
    expect(field(/^URL/)).toBeInTheDocument();
  });
});

describe('limits', () => {
  const openLimits = async (jsonData: Options) => {
    const page = open({ source: 'signal', ...jsonData });
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
    expect(saved()).toEqual({ source: 'signal' });
  });
});

describe('the recorder', () => {
  it.each<[string, string, string, object]>([
    ['Retention', '15d', '30d', { retention: 2_592_000_000 }],
    ['Maximum size', '10 GiB', '500 MiB', { maxBytes: 524_288_000 }],
    ['Out-of-order window', '1h', '2h', { outOfOrder: 7_200_000 }],
    ['Lookback', '5m', '1h 30m', { lookback: 5_400_000 }],
    ['Wait for late inputs', '2s', '500ms', { maxWait: 500 }],
    ['Stop when not used', '30d', '60d', { idleStop: 5_184_000_000 }],
    ['Interval', '1s', '500 ms', { hostInterval: 500 }],
  ])('has %s', async (label, fallback, text, recorder) => {
    const { saved } = open();
    expect(field(startsWith(label))).toHaveAttribute('placeholder', fallback);
    await enter(label, text);
    expect(saved()).toEqual({ recorder });
  });

  it('shows what was saved in words', () => {
    open({ recorder: { retention: 86_400_000, maxBytes: 1e9 } });
    expect(field(/^Retention/)).toHaveValue('1d');
    expect(field(/^Maximum size/)).toHaveValue('1 GB');
  });

  it('says what to enter only when one has left the field, and saves nothing of invalid text', async () => {
    const { saved } = open();
    await userEvent.type(field(/^Retention/), '15');
    expect(screen.queryByRole('alert')).not.toBeInTheDocument();
    await userEvent.tab();
    expect(screen.getByRole('alert')).toHaveTextContent(
      'Retention: enter a duration such as 90s, 12h or 15d, from 1h to 3650d, or nothing for 15d',
    );
    expect(saved()).toEqual({});
    await userEvent.type(field(/^Retention/), 'd');
    expect(screen.queryByRole('alert')).not.toBeInTheDocument();
    await userEvent.keyboard('{Enter}');
    expect(saved()).toEqual({ recorder: { retention: 1_296_000_000 } });
  });

  it('says so when what was saved has become invalid through another field', async () => {
    open({ recorder: { outOfOrder: 7_200_000 } });
    await enter('Retention', '1h');
    expect(screen.getByRole('alert')).toHaveTextContent('Out-of-order window: enter');
  });

  it('follows what is changed from elsewhere', () => {
    const { replace } = open({ recorder: { retention: 3_600_000 } });
    replace({ jsonData: { recorder: { retention: 7_200_000 } } });
    expect(field(/^Retention/)).toHaveValue('2h');
  });

  it('leaves this machine out', async () => {
    const { saved } = open();
    await userEvent.click(screen.getByRole('checkbox', { name: /This machine/ }));
    expect(saved()).toEqual({ recorder: { noHost: true } });
    expect(screen.queryByLabelText(/^Interval/)).not.toBeInTheDocument();
    await userEvent.click(screen.getByRole('checkbox', { name: /This machine/ }));
    expect(saved()).toEqual({ recorder: { noHost: undefined } });
  });

  it('cannot be changed where it is provisioned', () => {
    open({ recorder: { inputs: [{ type: 'mqtt', name: 'plant' }] } }, { readOnly: true });
    expect(field(/^Retention/)).toBeDisabled();
    expect(screen.getByRole('checkbox', { name: /This machine/ })).toBeDisabled();
    expect(screen.getByRole('button', { name: 'Add input' })).toBeDisabled();
    expect(screen.queryByRole('button', { name: 'Remove plant' })).not.toBeInTheDocument();
  });
});

describe('the status', () => {
  const HOST: InputStatus = {
    name: 'host',
    connected: true,
    samples: 123_456,
    late: 0,
    repeated: 0,
    refused: { future: 0, tooOld: 0, duplicate: 0 },
    rate: 79.25,
  };
  const PLANT: InputStatus = {
    ...HOST,
    name: 'plant',
    samples: 9,
    messages: 21,
    refused: { future: 3, tooOld: 0, duplicate: 4 },
    skipped: { 'not a number': { count: 12, example: 'abc' } },
    last: { from: 'a/b', payload: '{"v":1}', samples: ['v{b="b"} 1 @ 2026-01-01T00:00:00Z'] },
  };
  const STATUS: Status = { inputs: [HOST, PLANT], series: 1234, bytes: 3 * 2 ** 20, oldest: 0, settled: 0 };
  const refused = (error: object) => throwError(() => ({ status: 502, config: {}, ...error }));
  const tick = (ms: number) => act(() => jest.advanceTimersByTime(ms));

  beforeEach(() => {
    jest.useFakeTimers({ now: new Date('2026-01-02T00:00:00Z') });
    fetch.mockImplementation(() => of({ data: STATUS }));
  });
  afterEach(() => jest.useRealTimers());

  const row = (name: string) => within(screen.getByText(name, { selector: 'td' }).closest('tr')!);

  it('is asked for every two seconds, and shows the store and its inputs', () => {
    open();
    tick(0);
    expect(fetch).toHaveBeenCalledTimes(1);
    expect(fetch).toHaveBeenCalledWith(
      expect.objectContaining({ url: '/api/datasources/uid/mine/resources/status', showErrorAlert: false }),
    );
    expect(screen.getByText('1,234')).toBeInTheDocument();
    expect(screen.getByText('3.0 MiB')).toBeInTheDocument();
    expect(row('host').getByText('Connected')).toBeInTheDocument();
    expect(row('host').getByText('79.3')).toBeInTheDocument();
    expect(row('host').getByText('123,456')).toBeInTheDocument();
    expect(row('plant').getByText('21')).toBeInTheDocument();
    expect(row('plant').getByText('7')).toBeInTheDocument();
    fetch.mockImplementation(() => of({ data: { ...STATUS, series: 7777, settled: Date.now() - 350 } }));
    tick(2000);
    expect(fetch).toHaveBeenCalledTimes(2);
    expect(screen.getByText('7,777')).toBeInTheDocument();
    expect(screen.getByText('350 ms ago')).toBeInTheDocument();
  });

  it('shows why samples were refused and messages skipped, and what the last one became', () => {
    open();
    tick(0);
    act(() => row('plant').getByRole('button').click());
    expect(screen.getByText(/Refused, more than 10 s ahead/).parentElement).toHaveTextContent(': 3');
    expect(screen.getByText(/Skipped, not a number/).parentElement).toHaveTextContent(': 12, the first: abc');
    expect(screen.getByText('{"v":1}').parentElement).toHaveTextContent('from a/b');
    expect(screen.getByText('v{b="b"} 1 @ 2026-01-01T00:00:00Z')).toBeInTheDocument();
    tick(2000);
    expect(screen.getByText('{"v":1}')).toBeInTheDocument();
  });

  it('names trouble, and an input that is connecting', () => {
    const trouble = 'connection refused';
    const inputs = [
      { ...HOST, connected: false },
      { ...PLANT, connected: false, trouble },
    ];
    fetch.mockImplementation(() => of({ data: { ...STATUS, inputs } }));
    open();
    tick(0);
    expect(row('host').getByText('Connecting')).toBeInTheDocument();
    expect(row('plant').getByText('Trouble')).toBeInTheDocument();
    expect(screen.getByText('plant: connection refused')).toBeInTheDocument();
  });

  it('stays, with the message, while it cannot be read', () => {
    open();
    tick(0);
    fetch.mockImplementation(() => refused({ data: { error: 'the store is locked' } }));
    tick(2000);
    expect(screen.getByText('The status cannot be read: the store is locked')).toBeInTheDocument();
    expect(screen.getByText('1,234')).toBeInTheDocument();
    fetch.mockImplementation(() => refused({ data: undefined, statusText: 'Bad Gateway' }));
    tick(2000);
    expect(screen.getByText('The status cannot be read: Bad Gateway')).toBeInTheDocument();
    fetch.mockImplementation(() => of({ data: STATUS }));
    tick(2000);
    expect(screen.queryByText(/cannot be read/)).not.toBeInTheDocument();
  });

  it('is not asked for before the data source was saved as a recorder, nor after the page was left', () => {
    const { replace } = open({ source: 'signal' });
    replace({ jsonData: { source: 'recorder' } });
    tick(5000);
    expect(fetch).not.toHaveBeenCalled();
    replace({ version: 2 });
    tick(0);
    expect(fetch).toHaveBeenCalledTimes(1);
    replace({ jsonData: { source: 'signal' } });
    tick(5000);
    expect(fetch).toHaveBeenCalledTimes(1);
  });
});
