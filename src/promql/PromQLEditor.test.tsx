import { CoreApp, DataFrame, LoadingState, PanelData } from '@grafana/data';
import { setTemplateSrv, TemplateSrv } from '@grafana/runtime';
import { CodeEditor as HostEditor } from '@grafana/ui';
import { cleanup, render, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import React, { useState } from 'react';
import type { PromQLQuery } from './query';
import { PromQLEditor } from './PromQLEditor';

// Monaco needs a real browser. What it is given is tested in completion.test.ts and language.test.ts.
jest.mock('@grafana/ui', () => ({
  ...jest.requireActual('@grafana/ui'),
  CodeEditor: ({ value, onChange, onBlur }: React.ComponentProps<typeof HostEditor>) => (
    <textarea
      aria-label="PromQL"
      value={value}
      onChange={({ currentTarget }) => onChange?.(currentTarget.value)}
      onBlur={({ currentTarget }) => onBlur?.(currentTarget.value)}
    />
  ),
}));

type Props = React.ComponentProps<typeof PromQLEditor>;

const ANSWERS: Record<string, unknown> = {
  metrics: [
    { name: 'node_load1', type: 'gauge', unit: '', help: '1m load average.' },
    { name: 'node_cpu_seconds_total', type: 'counter', unit: 'seconds', help: 'Seconds that each CPU spent.' },
  ],
  labels: ['__name__', 'cpu', 'mode'],
  'labels/mode/values': ['idle', 'user'],
};

const STARTER = 'sum by (mode) (rate(node_cpu_seconds_total{mode!="idle"}[5m]))';

/** The editor as Grafana holds it: what it saves comes back as its query. */
async function open(query: Partial<PromQLQuery> = { expr: '' }, data?: Partial<PanelData>, app?: CoreApp) {
  const onChange = jest.fn<undefined, [PromQLQuery]>();
  const onRunQuery = jest.fn();
  const getResource = jest.fn((...[path]: [path: string, params?: unknown]) => Promise.resolve(ANSWERS[path]));
  const datasource = { sampleInterval: 1000, getDefaultQuery: () => ({ expr: STARTER }), getResource };
  let replace: (query: PromQLQuery) => void = () => undefined;
  function Holder() {
    const [saved, setSaved] = useState<PromQLQuery>({ refId: 'A', ...query });
    replace = setSaved;
    const save = (changed: PromQLQuery) => {
      onChange(changed);
      setSaved(changed);
    };
    const props = { datasource, query: saved, data, app, onChange: save, onRunQuery };
    return <PromQLEditor {...(props as unknown as Props)} />;
  }
  // The editor asks for labels when it is shown.
  await settled(() => void render(<Holder />));
  return {
    onRunQuery,
    getResource,
    saved: () => onChange.mock.lastCall?.[0],
    replace: (changed: PromQLQuery) => settled(() => replace(changed)),
  };
}

/** Does something, and waits for the answers that the editor then asks for. */
const settled = (does: () => void) =>
  React.act(() => {
    does();
    return Promise.resolve();
  });

const INPUT = { selector: 'input, textarea' };
const field = (label: string) => screen.getByLabelText<HTMLInputElement>(label, INPUT);

/** Opens the list of a field and takes an entry. */
async function choose(label: string, entry: RegExp) {
  await userEvent.click(field(label));
  await userEvent.click(await screen.findByRole('option', { name: entry }));
}

async function type(label: string, text: string, key = '') {
  await userEvent.clear(field(label));
  await userEvent.type(field(label), text.replace(/[{[]/g, '$&$&') + key);
}

beforeAll(() => {
  // Lists show as many entries as fit, and in jsdom nothing has a size.
  jest.spyOn(HTMLElement.prototype, 'getBoundingClientRect').mockReturnValue(new DOMRect(0, 0, 500, 500));
  jest.spyOn(Element.prototype, 'clientHeight', 'get').mockReturnValue(5000);
});

beforeEach(() => {
  setTemplateSrv({
    getVariables: () => [{ name: 'host' }],
    replace: (text: string) => text,
  } as unknown as TemplateSrv);
});

describe('the builder', () => {
  it('is there for a new query, and says nothing until a metric is chosen', async () => {
    const { saved, onRunQuery } = await open();
    expect(screen.getByRole('radio', { name: 'Builder' })).toBeChecked();
    await choose('Add operation', /^rate/);
    expect(saved()).toBeUndefined();
    expect(onRunQuery).not.toHaveBeenCalled();
    await choose('Metric', /^node_cpu_seconds_total/);
    expect(saved()).toMatchObject({ expr: 'rate(node_cpu_seconds_total[$__rate_interval])', editorMode: 'builder' });
    expect(onRunQuery).toHaveBeenCalledTimes(1);
  });

  it('shows what a metric is, and offers rate for a counter', async () => {
    const { saved } = await open();
    await userEvent.click(field('Metric'));
    expect(await screen.findByRole('option', { name: /counter, seconds · Seconds that each CPU/ })).toBeVisible();
    await userEvent.click(screen.getByRole('option', { name: /^node_load1/ }));
    expect(screen.queryByRole('button', { name: 'rate' })).toBeNull();
    await choose('Metric', /^node_cpu/);
    await userEvent.click(screen.getByRole('button', { name: 'rate' }));
    expect(saved()).toMatchObject({ expr: 'rate(node_cpu_seconds_total[$__rate_interval])' });
    expect(screen.queryByRole('button', { name: 'rate' })).toBeNull();
  });

  it('drops the operations of a new query when another metric is chosen', async () => {
    const { saved } = await open({ expr: STARTER });
    await choose('Metric', /^node_load1/);
    expect(saved()?.expr).toBe('node_load1');
  });

  it('shows what a panel runs without an expression, an alert rule nothing', async () => {
    await open({});
    expect(field('Metric')).toHaveValue('node_cpu_seconds_total');
    expect(screen.getByLabelText('With Streaming')).toBeInTheDocument();
    expect(screen.getByLabelText('Legend')).toBeInTheDocument();
    cleanup();
    await open({}, undefined, CoreApp.UnifiedAlerting);
    expect(field('Metric')).toHaveValue('');
    expect(screen.queryByLabelText('With Streaming')).toBeNull();
    expect(screen.queryByLabelText('Legend')).toBeNull();
  });

  it('searches for metrics', async () => {
    const { getResource } = await open();
    await userEvent.click(field('Metric'));
    await userEvent.type(field('Metric'), 'cpu');
    const search = { limit: 1000, search: 'cpu' };
    await waitFor(() => expect(getResource.mock.lastCall?.slice(0, 2)).toEqual(['metrics', search]));
  });

  it('keeps what is being typed while rows come', async () => {
    const { replace, saved } = await open({ expr: 'rate(up[5m])' });
    for (const [label, typed, wanted] of [
      ['Metric', 'load', 'rate(load[5m])'],
      ['Range', '7m', 'rate(load[7m])'],
    ] as const) {
      await userEvent.click(field(label));
      for (const letter of typed) {
        await userEvent.keyboard(letter);
        await replace({ refId: 'A', expr: saved()?.expr ?? 'rate(up[5m])' });
      }
      await userEvent.click(await screen.findByRole('option', { name: new RegExp(`^${typed} ?As typed`) }));
      expect(saved()?.expr).toBe(wanted);
    }
  });

  it('adds a filter once it is complete, and offers values of the series that the rest selects', async () => {
    const { saved, getResource } = await open({ expr: 'up{cpu="0"}' });
    await userEvent.click(screen.getByRole('button', { name: 'Add label filter' }));
    const filter = within(screen.getByRole('group', { name: 'Label filters' }));
    await userEvent.click(filter.getAllByLabelText('Label', INPUT)[1]!);
    await userEvent.click(await screen.findByRole('option', { name: 'mode' }));
    expect(saved()).toBeUndefined();
    await userEvent.click(filter.getAllByLabelText('Value', INPUT)[1]!);
    await userEvent.click(await screen.findByRole('option', { name: 'idle' }));
    expect(getResource.mock.lastCall?.slice(0, 2)).toEqual([
      'labels/mode/values',
      { limit: 1000, match: 'up{cpu="0"}' },
    ]);
    expect(saved()?.expr).toBe('up{cpu="0", mode="idle"}');
    await userEvent.click(filter.getAllByRole('button', { name: 'Remove label filter' })[0]!);
    expect(saved()?.expr).toBe('up{mode="idle"}');
  });

  it('offers variables', async () => {
    const { saved } = await open({ expr: 'up{mode="idle"}' });
    await choose('Value', /^\$host/);
    expect(saved()?.expr).toBe('up{mode="$host"}');
  });

  it('filters for series without a label', async () => {
    const { saved } = await open({ expr: 'up{mode="idle"}' });
    await choose('Value', /^\(empty\)/);
    expect(saved()?.expr).toBe('up{mode=""}');
    expect(field('Value')).toHaveValue('(empty)');
  });

  it('changes operations and takes them away', async () => {
    const { saved } = await open({ expr: 'topk by (mode) (5, rate(up[5m]))' });
    await type('Series', '3', '{Enter}');
    expect(saved()?.expr).toBe('topk by (mode) (3, rate(up[5m]))');
    await type('Series', 'x', '{Enter}');
    expect(field('Series')).toBeInvalid();
    expect(saved()?.expr).toBe('topk by (mode) (3, rate(up[5m]))');
    await choose('Range', /^\$__rate_interval/);
    expect(saved()?.expr).toBe('topk by (mode) (3, rate(up[$__rate_interval]))');
    await userEvent.click(screen.getByRole('button', { name: 'Remove topk' }));
    expect(saved()?.expr).toBe('rate(up[$__rate_interval])');
    await choose('Operation', /^increase/);
    expect(saved()?.expr).toBe('increase(up[$__rate_interval])');
    await choose('Add operation', /^max_over_time/);
    expect(saved()?.expr).toBe('max_over_time(up[$__interval])');
  });

  it('groups by labels', async () => {
    const { saved } = await open({ expr: 'sum(up)' });
    await choose('Grouping', /^by/);
    expect(saved()?.expr).toBe('sum by () (up)');
    await userEvent.click(screen.getByPlaceholderText('Labels'));
    await userEvent.click(await screen.findByRole('option', { name: /mode/ }));
    expect(saved()?.expr).toBe('sum by (mode) (up)');
    await choose('Grouping', /^of all/);
    expect(saved()?.expr).toBe('sum(up)');
  });

  it('follows an expression that is changed elsewhere, and keeps how it is written', async () => {
    const { replace, saved } = await open({ expr: 'up' });
    await replace({ refId: 'A', expr: 'rate( load[5m] )', editorMode: 'builder' });
    expect(field('Metric')).toHaveValue('load');
    expect(saved()).toBeUndefined();
    await choose('Range', /^1m/);
    expect(saved()?.expr).toBe('rate(load[1m])');
  });
});

describe('code', () => {
  it('is shown for what the builder cannot show, and stays', async () => {
    const { saved } = await open({ expr: 'up + up', editorMode: 'code' });
    expect(field('PromQL')).toHaveValue('up + up');
    expect(screen.queryByText(/cannot show/)).toBeNull();
    await userEvent.click(screen.getByRole('radio', { name: 'Builder' }));
    expect(screen.getByText('The builder cannot show this expression')).toBeVisible();
    expect(field('PromQL')).toHaveValue('up + up');
    expect(saved()).toBeUndefined();
  });

  it('says so for a query that was saved with the builder', async () => {
    await open({ expr: 'up + up', editorMode: 'builder' });
    expect(screen.getByText('The builder cannot show this expression')).toBeVisible();
  });

  it('is turned into the builder and back without a change', async () => {
    const { saved, onRunQuery } = await open({ expr: 'sum( up )', editorMode: 'code', hide: false });
    await userEvent.click(screen.getByRole('radio', { name: 'Builder' }));
    expect(saved()).toEqual({ refId: 'A', expr: 'sum( up )', editorMode: 'builder', hide: false });
    expect(field('Metric')).toHaveValue('up');
    await userEvent.click(screen.getByRole('radio', { name: 'Code' }));
    expect(field('PromQL')).toHaveValue('sum( up )');
    expect(onRunQuery).not.toHaveBeenCalled();
  });

  it('is saved and run when one leaves it, and only if it changed', async () => {
    const { saved, onRunQuery } = await open({ expr: 'up', editorMode: 'code' });
    await type('PromQL', 'up + 1');
    expect(saved()).toBeUndefined();
    await userEvent.tab();
    expect(saved()).toEqual({ refId: 'A', expr: 'up + 1', editorMode: 'code' });
    await userEvent.click(field('PromQL'));
    await userEvent.tab();
    expect(onRunQuery).toHaveBeenCalledTimes(1);
  });
});

describe('either', () => {
  it('saves the legend on Enter and on blur', async () => {
    const { saved, onRunQuery } = await open({ expr: 'up' });
    await type('Legend', '{{job}}', '{Enter}');
    expect(saved()).toEqual({ refId: 'A', expr: 'up', legend: '{{job}}' });
    await userEvent.clear(field('Legend'));
    await userEvent.tab();
    expect(saved()).toEqual({ refId: 'A', expr: 'up', legend: undefined });
    expect(onRunQuery).toHaveBeenCalledTimes(2);
  });

  it('turns streaming off', async () => {
    const { saved } = await open({ expr: 'up' });
    await userEvent.click(field('With Streaming'));
    expect(saved()?.withStreaming).toBe(false);
  });

  it.each<[number | undefined, string | null]>([
    [1000, 'One row per 1s'],
    [120_000, 'One row per 2m'],
    [90_500, 'One row per 1m 30s 500ms'],
    [undefined, null],
  ])('says of a step of %s: %s', async (interval, text) => {
    const frame = { refId: 'A', length: 0, fields: [{ name: 'time', config: { interval } }] } as unknown as DataFrame;
    const other = {
      refId: 'B',
      length: 0,
      fields: [{ name: 'time', config: { interval: 7 } }],
    } as unknown as DataFrame;
    await open({ expr: 'up' }, { state: LoadingState.Done, series: [other, frame] });
    if (text) {
      expect(screen.getByText(text)).toBeVisible();
    } else {
      expect(screen.queryByText(/One row per/)).toBeNull();
    }
  });
});

describe('states', () => {
  const STATES: Record<string, string[]> = { pump_state: ['pump', 'pump_state'], kube_phase: ['phase', 'pod'] };
  const openStates = async (query: Partial<PromQLQuery>) => {
    const opened = await open(query);
    opened.getResource.mockImplementation((path: string, params?: unknown) =>
      Promise.resolve(path === 'labels' ? STATES[(params as { match: string }).match] : ANSWERS[path]),
    );
    return opened;
  };

  it('are offered for a metric that is a set of them', async () => {
    const { saved, replace } = await openStates({ expr: '' });
    await replace({ refId: 'A', expr: 'pump_state{pump="p1"}' });
    await userEvent.click(await screen.findByRole('button', { name: 'Show as states' }));
    expect(saved()).toMatchObject({ expr: 'pump_state{pump="p1"}', format: 'states' });
    expect(screen.queryByRole('button', { name: 'Show as states' })).not.toBeInTheDocument();
  });

  it('are in a label that can be chosen', async () => {
    const { saved, replace } = await openStates({ expr: '' });
    await replace({ refId: 'A', expr: 'kube_phase' });
    await waitFor(() => expect(screen.queryByRole('button', { name: 'Show as states' })).not.toBeInTheDocument());
    await replace({ refId: 'A', expr: 'kube_phase', format: 'states' });
    await choose('State label', /^phase$/);
    expect(saved()).toMatchObject({ expr: 'kube_phase', format: 'states', stateLabel: 'phase' });
  });
});
