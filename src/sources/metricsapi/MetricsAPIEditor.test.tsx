import { setTemplateSrv, TemplateSrv } from '@grafana/runtime';
import { render, screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import React, { useState } from 'react';
import type { MetricsAPIQuery } from './query';
import { MetricsAPIEditor } from './MetricsAPIEditor';

type Props = React.ComponentProps<typeof MetricsAPIEditor>;

/** The editor as Grafana holds it: what it saves comes back as its query. */
function open(
  query: Partial<MetricsAPIQuery> = {},
  getResource: jest.Mock<Promise<unknown>> = jest.fn(() => Promise.resolve([])),
) {
  const onChange = jest.fn<undefined, [MetricsAPIQuery]>();
  const onRunQuery = jest.fn();
  const datasource = { getResource };
  function Holder() {
    const [saved, setSaved] = useState<MetricsAPIQuery>({ refId: 'A', ...query });
    const save = (changed: MetricsAPIQuery) => {
      onChange(changed);
      setSaved(changed);
    };
    return <MetricsAPIEditor {...({ datasource, query: saved, onChange: save, onRunQuery } as unknown as Props)} />;
  }
  render(<Holder />);
  return { onChange, onRunQuery };
}

const field = (label: string) => screen.getByLabelText<HTMLInputElement>(label);

async function enter(label: string, text: string, key = '{Enter}') {
  await userEvent.clear(field(label));
  await userEvent.type(field(label), text.replace(/[{[]/g, '$&$&') + key);
}

/** Replaces the value of a list by typing, and takes the n-th option that is then offered. */
async function choose(label: string, text: string, n: number, asked?: jest.Mock) {
  await userEvent.click(field(label));
  await userEvent.keyboard(`{Control>}a{/Control}${text}`);
  if (asked) {
    await waitFor(() => expect(asked).toHaveBeenCalled());
    await React.act(() => Promise.resolve());
  }
  await userEvent.keyboard('{ArrowDown}'.repeat(n) + '{Enter}');
}

beforeAll(() => {
  // Lists show as many entries as fit, and in jsdom nothing has a size.
  jest.spyOn(HTMLElement.prototype, 'getBoundingClientRect').mockReturnValue(new DOMRect(0, 0, 500, 500));
});

beforeEach(() => {
  setTemplateSrv({ getVariables: () => [{ name: 'room' }] } as unknown as TemplateSrv);
});

describe('MetricsAPIEditor', () => {
  it('shows the defaults for a new query', () => {
    open();
    expect(field('Metric')).toHaveValue('');
    expect(field('Aggregation')).toHaveValue('last');
    expect(field('Query')).toHaveValue('');
    expect(field('Min step (ms)')).toHaveValue('');
    expect(field('Legend')).toHaveValue('');
    expect(field('With Streaming')).toBeChecked();
  });

  it('offers the metrics that the service names, and runs the one that is chosen', async () => {
    const getResource = jest.fn(() => Promise.resolve([{ name: 'orders' }, { name: 'temperature_hall' }]));
    const { onChange, onRunQuery } = open({}, getResource);
    await choose('Metric', '', 2, getResource);
    expect(getResource).toHaveBeenCalledWith('names');
    expect(onChange.mock.calls).toEqual([[{ refId: 'A', metricName: 'temperature_hall' }]]);
    expect(onRunQuery).toHaveBeenCalledTimes(1);
    expect(field('Metric')).toHaveValue('temperature_hall');
  });

  it('takes any name, also from a service that names none', async () => {
    const getResource = jest.fn(() => Promise.reject(new Error('away')));
    const { onChange } = open({}, getResource);
    await choose('Metric', 'other_$room', 1, getResource);
    expect(onChange.mock.calls[0]![0]).toMatchObject({ metricName: 'other_$room' });
  });

  it('saves an aggregation', async () => {
    const { onChange } = open({ metricName: 'orders' });
    await choose('Aggregation', 'avg', 1);
    expect(onChange.mock.calls).toEqual([[{ refId: 'A', metricName: 'orders', aggregation: 'avg' }]]);
  });

  it.each<[string, string, Partial<MetricsAPIQuery>]>([
    ['Query', ' room = $room ', { queryText: 'room = $room' }],
    ['Min step (ms)', '250', { minStep: 250 }],
    ['Min step (ms)', '${step}', { minStep: '${step}' }],
    ['Legend', '{{room}}', { legend: '{{room}}' }],
  ])('saves %s as %s on Enter and runs the query once', async (label, text, wanted) => {
    const { onChange, onRunQuery } = open({ metricName: 'orders' });
    await enter(label, text);
    expect(onChange.mock.calls).toHaveLength(1);
    expect(onChange.mock.calls[0]![0]).toMatchObject({ refId: 'A', metricName: 'orders', ...wanted });
    await userEvent.tab();
    expect(onRunQuery).toHaveBeenCalledTimes(1);
  });

  it('says what is wrong with a step, and saves nothing until it is corrected', async () => {
    const { onChange } = open({ metricName: 'orders' });
    await enter('Min step (ms)', '5');
    expect(screen.getByText('Min step: enter a whole number from 10 to 86400000, or a variable')).toBeInTheDocument();
    await enter('Query', 'x');
    expect(onChange).not.toHaveBeenCalled();
    await enter('Min step (ms)', '50');
    expect(onChange.mock.calls[0]![0]).toMatchObject({ queryText: 'x', minStep: 50 });
  });

  it('turns the streaming off', async () => {
    const { onChange } = open({ metricName: 'orders' });
    await userEvent.click(field('With Streaming'));
    expect(onChange.mock.calls).toEqual([[{ refId: 'A', metricName: 'orders', withStreaming: false }]]);
  });
});
