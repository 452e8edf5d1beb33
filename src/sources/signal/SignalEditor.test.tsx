import { render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import React, { useState } from 'react';
import type { SignalQuery } from './query';
import { SignalEditor } from './SignalEditor';

type Props = React.ComponentProps<typeof SignalEditor>;

/** The editor as Grafana holds it: what it saves comes back as its query. */
function open(query: Partial<SignalQuery> = {}) {
  const onChange = jest.fn<undefined, [SignalQuery]>();
  const onRunQuery = jest.fn();
  let replace: (query: SignalQuery) => void = () => undefined;
  function Holder() {
    const [saved, setSaved] = useState<SignalQuery>({ refId: 'A', ...query });
    replace = setSaved;
    const save = (changed: SignalQuery) => {
      onChange(changed);
      setSaved(changed);
    };
    return <SignalEditor {...({ query: saved, onChange: save, onRunQuery } as unknown as Props)} />;
  }
  render(<Holder />);
  return { onChange, onRunQuery, replace: (changed: SignalQuery) => React.act(() => replace(changed)) };
}

const field = (label: string) => screen.getByLabelText<HTMLInputElement>(label);

async function enter(label: string, text: string, key = '{Enter}') {
  await userEvent.clear(field(label));
  await userEvent.type(field(label), text.replace(/[{[]/g, '$&$&') + key);
}

/** Replaces the shape by typing, and takes the first option of the list. */
async function choose(text: string) {
  await userEvent.click(field('Shape'));
  await userEvent.keyboard(`{Control>}a{/Control}${text}{ArrowDown}{Enter}`);
}

beforeAll(() => {
  // The list shows as many shapes as fit, and in jsdom nothing has a size.
  jest.spyOn(HTMLElement.prototype, 'getBoundingClientRect').mockReturnValue(new DOMRect(0, 0, 500, 500));
});

describe('QueryEditor', () => {
  it('shows the defaults for an old query', () => {
    open();
    expect(field('Shape')).toHaveValue('Walk');
    expect(field('Lower limit')).toHaveValue('0');
    expect(field('Upper limit')).toHaveValue('100');
    expect(field('Tick interval (ms)')).toHaveValue('1000');
    expect(field('Legend')).toHaveValue('');
    expect(field('With Streaming')).toBeChecked();
  });

  it.each<[string, string, Partial<SignalQuery>]>([
    ['Lower limit', '-5.5', { lowerLimit: -5.5 }],
    ['Upper limit', '1e3', { upperLimit: 1000 }],
    ['Upper limit', ' $high ', { upperLimit: '$high' }],
    ['Lower limit', '${low:raw}', { lowerLimit: '${low:raw}' }],
    ['Tick interval (ms)', '250', { tickInterval: 250 }],
    ['Tick interval (ms)', '$tick', { tickInterval: '$tick' }],
    ['Legend', '$host {{shape}}', { legend: '$host {{shape}}' }],
  ])('saves %s as %s on Enter and runs the query once', async (label, text, wanted) => {
    const { onChange, onRunQuery } = open();
    await enter(label, text);
    expect(onChange.mock.calls).toHaveLength(1);
    expect(onChange.mock.calls[0]![0]).toMatchObject({ refId: 'A', withStreaming: true, shape: 'walk', ...wanted });
    expect(onRunQuery).toHaveBeenCalledTimes(1);
    await userEvent.tab();
    expect(onRunQuery).toHaveBeenCalledTimes(1);
  });

  it('saves on blur, and not while one types', async () => {
    const { onChange, onRunQuery } = open();
    await enter('Upper limit', '50', '');
    expect(onChange).not.toHaveBeenCalled();
    await userEvent.tab();
    expect(onChange).toHaveBeenLastCalledWith(expect.objectContaining({ upperLimit: 50 }));
    expect(onRunQuery).toHaveBeenCalledTimes(1);
  });

  it.each([
    ['Lower limit', 'abc', 'Lower limit: enter a number from -1e15 to 1e15, or a variable'],
    ['Lower limit', '100', 'Lower limit: enter a number below the upper limit'],
    ['Upper limit', 'NaN', 'Upper limit: enter a number from -1e15 to 1e15, or a variable'],
    ['Upper limit', '1e16', 'Upper limit: enter a number from -1e15 to 1e15, or a variable'],
    ['Upper limit', 'Infinity', 'Upper limit: enter a number from -1e15 to 1e15, or a variable'],
    ['Upper limit', ' ', 'Upper limit: enter a number from -1e15 to 1e15, or a variable'],
    ['Tick interval (ms)', '9', 'Tick interval: enter a whole number from 10 to 86400000, or a variable'],
    ['Tick interval (ms)', '10.5', 'Tick interval: enter a whole number from 10 to 86400000, or a variable'],
    ['Tick interval (ms)', '86400001', 'Tick interval: enter a whole number from 10 to 86400000, or a variable'],
  ])('refuses %s of "%s" as it is typed', async (label, text, message) => {
    const { onChange, onRunQuery } = open();
    await enter(label, text, '');
    expect(screen.getByRole('alert')).toHaveTextContent(message);
    expect(field(label)).toBeInvalid();
    await userEvent.type(field(label), '{Enter}');
    await userEvent.tab();
    expect(onChange).not.toHaveBeenCalled();
    expect(onRunQuery).not.toHaveBeenCalled();
  });

  it('saves both limits once the second makes the first valid', async () => {
    const { onChange, onRunQuery } = open();
    await enter('Lower limit', '200');
    expect(screen.getByRole('alert')).toBeVisible();
    await enter('Upper limit', '300');
    expect(screen.queryByRole('alert')).toBeNull();
    expect(onChange.mock.calls).toHaveLength(1);
    expect(onChange.mock.calls[0]![0]).toMatchObject({ lowerLimit: 200, upperLimit: 300 });
    expect(onRunQuery).toHaveBeenCalledTimes(1);
  });

  it('runs at once when streaming is switched', async () => {
    const { onChange, onRunQuery } = open({ legend: 'x' });
    await userEvent.click(field('With Streaming'));
    expect(onChange).toHaveBeenLastCalledWith(expect.objectContaining({ withStreaming: false, legend: 'x' }));
    expect(onRunQuery).toHaveBeenCalledTimes(1);
  });

  it.each([
    ['Sin', 'sine'],
    ['$shape', '$shape'],
  ])('takes %s for the shape', async (typed, wanted) => {
    const { onChange, onRunQuery } = open();
    await choose(typed);
    expect(onChange).toHaveBeenLastCalledWith(expect.objectContaining({ shape: wanted }));
    expect(onRunQuery).toHaveBeenCalledTimes(1);
  });

  it('refuses a shape that does not exist', async () => {
    const { onChange } = open();
    await choose('circle');
    expect(screen.getByRole('alert')).toHaveTextContent('Shape: choose one of walk, sine, square, sawtooth, noise');
    expect(onChange).not.toHaveBeenCalled();
  });

  it('follows a query that is changed elsewhere', () => {
    const { replace } = open();
    replace({ refId: 'A', upperLimit: 7, legend: 'other' });
    expect(field('Upper limit')).toHaveValue('7');
    expect(field('Legend')).toHaveValue('other');
  });
});
