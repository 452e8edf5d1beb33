import { CoreApp, FieldType, LoadingState, PanelData, toDataFrame } from '@grafana/data';
import { render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import React, { useState } from 'react';
import type { Query } from '../types';
import { AnnotationEditor } from './AnnotationEditor';

jest.mock('@grafana/runtime', () => ({
  ...jest.requireActual('@grafana/runtime'),
  DataSourcePicker: () => null,
}));

type Props = React.ComponentProps<typeof AnnotationEditor>;

const SourceEditor = jest.fn(() => null);

/** The editor as Grafana holds it: what it saves comes back as its query. */
function open(query: Partial<Query> = {}, key = 'expr', data?: Partial<PanelData>) {
  const datasource = { source: { key, QueryEditor: SourceEditor } };
  const onChange = jest.fn<undefined, [Query]>();
  const onRunQuery = jest.fn();
  function Holder() {
    const [saved, setSaved] = useState<Query>({ refId: 'Anno', ...query });
    const save = (changed: Query) => {
      onChange(changed);
      setSaved(changed);
    };
    return (
      <AnnotationEditor {...({ datasource, data, query: saved, onChange: save, onRunQuery } as unknown as Props)} />
    );
  }
  render(<Holder />);
  return { saved: () => onChange.mock.calls.at(-1)?.[0], onRunQuery };
}

beforeAll(() => {
  // Lists show as many as there is room for, and in jsdom nothing has a size.
  jest.spyOn(HTMLElement.prototype, 'getBoundingClientRect').mockReturnValue(new DOMRect(0, 0, 500, 500));
});

it.each([
  ['Title', ' {{instance}} is down ', { title: '{{instance}} is down' }],
  ['Text', '{{job}}', { text: '{{job}}' }],
  ['Tags', '{{job}}, maintenance', { tags: '{{job}}, maintenance' }],
  ['Step', '15 minutes', { step: '15 minutes' }],
  ['Step', '$step', { step: '$step' }],
])('%s is saved: %s', async (label, typed, event) => {
  const { saved, onRunQuery } = open({ expr: 'up' });
  await userEvent.type(screen.getByLabelText(label), `${typed.replaceAll('{', '{{')}{Enter}`);
  expect(saved()).toEqual({ refId: 'Anno', expr: 'up', event });
  expect(onRunQuery).toHaveBeenCalledTimes(1);
});

it('refuses a step that is no duration', async () => {
  const { saved } = open();
  await userEvent.type(screen.getByLabelText('Step'), 'often{Enter}');
  expect(screen.getByText(/enter a duration/)).toBeVisible();
  expect(saved()).toBeUndefined();
});

it('makes events of changes of state, or regions', async () => {
  const { saved } = open({ expr: 'pump_state' });
  await userEvent.click(screen.getByLabelText('Events from'));
  await userEvent.keyboard('{Control>}a{/Control}Changes{ArrowDown}{Enter}');
  expect(saved()).toEqual({ refId: 'Anno', expr: 'pump_state', format: 'states' });
  expect(screen.queryByLabelText('Text')).toBeNull();
  await userEvent.click(screen.getByLabelText('Regions'));
  expect(saved()).toMatchObject({ format: 'states', event: { regions: true } });
});

it('offers neither states nor streaming where there are none', () => {
  open({ shape: 'square', format: 'states' }, 'shape');
  expect(screen.getByLabelText('Text')).toBeVisible();
  expect(screen.queryByLabelText('Events from')).toBeNull();
  expect(SourceEditor).toHaveBeenLastCalledWith(expect.objectContaining({ app: CoreApp.Dashboard }), expect.anything());
});

it('shows the step of the answer and its notices', () => {
  const text = 'No series in this time range matches the query.';
  const frame = toDataFrame({
    fields: [{ name: 'time', type: FieldType.time, values: [], config: { interval: 20_000 } }],
    meta: { notices: [{ severity: 'warning', text }] },
  });
  open({ expr: 'up' }, 'expr', { state: LoadingState.Done, series: [frame] });
  expect(screen.getByLabelText('Step')).toHaveAttribute('placeholder', '20s');
  expect(screen.getByText(text)).toBeVisible();
});
