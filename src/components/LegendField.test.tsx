import { toDataFrame } from '@grafana/data';
import { render, screen } from '@testing-library/react';
import React from 'react';
import { labelsOf, LegendField } from './LegendField';

const data = {
  series: [
    toDataFrame({ refId: 'A', fields: [{ name: 'time' }, { name: 'a', labels: { mode: 'x', cpu: '0' } }] }),
    toDataFrame({ refId: 'B', fields: [{ name: 'b', labels: { job: 'x' } }] }),
  ],
} as never;

describe('the labels after {{', () => {
  it('are those of the answer', () => {
    expect(labelsOf(data, 'A')).toEqual(['cpu', 'mode']);
    expect(labelsOf(undefined, 'A')).toEqual([]);
  });

  it.each([
    ['', ['{{cpu}}', '{{mode}}']],
    ['{{', ['{{cpu}}', '{{mode}}']],
    ['{{mo', ['{{cpu}}', '{{mode}}']], // the browser shows what contains the typed text
    ['CPU {{cpu}}: {{', ['CPU {{cpu}}: {{cpu}}', 'CPU {{cpu}}: {{mode}}']],
    ['CPU {{cpu}}', []],
    ['plain', []],
  ])('are offered for "%s"', (value, wanted) => {
    const nothing = () => undefined;
    const { container } = render(
      <LegendField
        id="legend"
        value={value}
        labels={labelsOf(data, 'A')}
        onChange={nothing}
        handlers={{ onBlur: nothing, onKeyDown: nothing }}
      />,
    );
    expect(screen.getByLabelText('Legend')).toHaveAttribute('list', container.querySelector('datalist')?.id);
    expect([...container.querySelectorAll('option')].map((option) => option.value)).toEqual(wanted);
  });
});
