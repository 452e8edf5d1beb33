import { DataSourcePluginOptionsEditorProps, DataSourceSettings } from '@grafana/data';
import { render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import React from 'react';
import { Options } from '../types';
import { ConfigEditor } from './ConfigEditor';

function open(jsonData: Options = {}) {
  const onOptionsChange = jest.fn<undefined, [DataSourceSettings<Options>]>();
  const props = { options: { name: 'mine', jsonData }, onOptionsChange };
  render(<ConfigEditor {...(props as unknown as DataSourcePluginOptionsEditorProps<Options>)} />);
  return { saved: () => onOptionsChange.mock.lastCall?.[0].jsonData };
}

const field = (label: string) => screen.getByLabelText<HTMLInputElement>(label, { exact: false });

describe('ConfigEditor', () => {
  it('shows the source, and defaults as placeholders', () => {
    open();
    expect(screen.getByLabelText(/^Source/, { selector: 'input' })).toHaveValue('Recorder (this machine)');
    expect(field('Minimum step (ms)')).toHaveAttribute('placeholder', '10');
    expect(field('Streams per data source')).toHaveAttribute('placeholder', '1000');
    expect(field('Streams per user')).toHaveAttribute('placeholder', '200');
    expect(field('Rows per query')).toHaveAttribute('placeholder', '50000');
    expect(field('Minimum step (ms)')).toHaveValue('');
  });

  it.each<[string, keyof Options]>([
    ['Minimum step (ms)', 'minStep'],
    ['Streams per data source', 'maxStreams'],
    ['Streams per user', 'maxStreamsPerUser'],
    ['Rows per query', 'maxRows'],
  ])('saves %s as a number', async (label, name) => {
    const { saved } = open({ source: 'signal' });
    await userEvent.type(field(label), '25');
    expect(saved()).toEqual({ source: 'signal', [name]: 25 });
  });

  it('saves nothing for an empty field', async () => {
    const { saved } = open({ minStep: 20 });
    await userEvent.clear(field('Minimum step (ms)'));
    expect(saved()).toEqual({ minStep: undefined });
  });

  it.each([
    ['Minimum step (ms)', '9', 'Minimum step (ms): enter a whole number from 10, or nothing for 10'],
    ['Rows per query', '0', 'Rows per query: enter a whole number from 1, or nothing for 50000'],
    ['Streams per user', '-', 'Streams per user: enter a whole number from 1, or nothing for 200'],
  ])('refuses %s of %s', async (label, text, message) => {
    const { saved } = open();
    await userEvent.type(field(label), text);
    expect(screen.getByRole('alert')).toHaveTextContent(message);
    expect(field(label)).toBeInvalid();
    expect(saved()).toBeUndefined();
  });
});
