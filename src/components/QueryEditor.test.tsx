import { CoreApp } from '@grafana/data';
import { render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import React, { useState } from 'react';
import type { Query } from '../types';
import { QueryEditor, SourceEditor } from './QueryEditor';

jest.mock('@grafana/runtime', () => ({
  ...jest.requireActual('@grafana/runtime'),
  DataSourcePicker: () => null,
}));

type Props = React.ComponentProps<typeof QueryEditor>;

const datasource = { type: 't', uid: 'u', source: { key: 'expr', QueryEditor: () => null } };

/** The editor as Grafana holds it: what it saves comes back as its query. */
function open(app: CoreApp, query: Partial<Query> = {}) {
  const onChange = jest.fn<undefined, [Query]>();
  const onRunQuery = jest.fn();
  function Holder() {
    const [saved, setSaved] = useState<Query>({ refId: 'A', expr: 'up', ...query });
    const save = (changed: Query) => {
      onChange(changed);
      setSaved(changed);
    };
    return <QueryEditor {...({ app, datasource, query: saved, onChange: save, onRunQuery } as unknown as Props)} />;
  }
  render(<Holder />);
  return { onChange, onRunQuery };
}

beforeAll(() => {
  // Lists show as many as there is room for, and in jsdom nothing has a size.
  jest.spyOn(HTMLElement.prototype, 'getBoundingClientRect').mockReturnValue(new DOMRect(0, 0, 500, 500));
});

describe('the format', () => {
  it.each([
    ['Newest', {}, 'newest'],
    ['Time', { format: 'newest' as const }, undefined],
  ])('becomes %s', async (label, query, wanted) => {
    const { onChange, onRunQuery } = open(CoreApp.PanelEditor, query);
    await userEvent.click(screen.getByLabelText('Format'));
    await userEvent.keyboard(`{Control>}a{/Control}${label}{ArrowDown}{Enter}`);
    expect(onChange.mock.calls.at(-1)![0]).toEqual({ refId: 'A', expr: 'up', format: wanted });
    expect(onRunQuery).toHaveBeenCalledTimes(1);
  });
});

describe('a query that was made for another source', () => {
  const replaced = (key: string, query: Partial<Query>) => {
    const onChange = jest.fn<undefined, [Query]>();
    const datasource = { source: { key, QueryEditor: () => null }, getDefaultQuery: () => ({ [key]: 'new' }) };
    const props = { datasource, query: { refId: 'A', ...query }, onChange, onRunQuery: jest.fn() };
    render(<SourceEditor {...(props as unknown as Props)} />);
    return JSON.parse(JSON.stringify(onChange.mock.calls[0]![0])) as Query; // as it is saved
  };

  it('keeps its format, unless the new source has no states', () => {
    expect(replaced('shape', { expr: 'up', format: 'newest' })).toEqual({ refId: 'A', shape: 'new', format: 'newest' });
    expect(replaced('shape', { expr: 'up', format: 'states' })).toEqual({ refId: 'A', shape: 'new' });
    expect(replaced('expr', { metricName: 'm', format: 'states' })).toEqual({
      refId: 'A',
      expr: 'new',
      format: 'states',
    });
  });
});

describe('the time zone', () => {
  it('is the dashboard’s in panels, unless the query has one', () => {
    open(CoreApp.PanelEditor);
    expect(screen.queryByText('Time zone')).toBeNull();
    open(CoreApp.PanelEditor, { timezone: 'Europe/Berlin' });
    expect(screen.getByText('Time zone')).toBeVisible();
  });

  it('is chosen in alert rules', async () => {
    const { onChange, onRunQuery } = open(CoreApp.UnifiedAlerting);
    await userEvent.click(screen.getByLabelText('Time zone'));
    await userEvent.keyboard('kolkata');
    await userEvent.click(await screen.findByText('Kolkata'));
    expect(onChange).toHaveBeenLastCalledWith({ refId: 'A', expr: 'up', timezone: 'Asia/Kolkata' });
    expect(onRunQuery).toHaveBeenCalledTimes(1);
  });
});
