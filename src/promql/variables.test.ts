import { DataFrame, DataQueryRequest, dateTime, FieldType } from '@grafana/data';
import { setTemplateSrv, TemplateSrv } from '@grafana/runtime';
import { firstValueFrom, of } from 'rxjs';
import type { DataSource } from '../datasource';
import { variableError, VariableQuery, variableQuery } from './variableQuery';
import { Variables } from './variables';

const NOW = 1_700_000_000_000;
const range = { from: dateTime(NOW - 3_600_000), to: dateTime(NOW) };

const getResource = jest.fn();
const query = jest.fn();
const variables = new Variables({ getResource, query } as unknown as DataSource);

function request(target: Partial<VariableQuery> | string) {
  const targets = [typeof target === 'string' ? target : { refId: 'v', ...target }];
  return {
    targets,
    range: { ...range, raw: { from: 'now-1h', to: 'now' } },
    scopedVars: {},
  } as unknown as DataQueryRequest<VariableQuery>;
}

async function valuesOf(target: Partial<VariableQuery> | string): Promise<unknown[]> {
  const { data } = await firstValueFrom(variables.query(request(target)));
  const [{ fields }] = data as [DataFrame];
  expect(fields.map(({ name, type }) => [name, type])).toEqual([['text', FieldType.string]]);
  return fields[0]!.values;
}

beforeEach(() => {
  getResource.mockReset().mockResolvedValue(['a', '__name__', 'b']);
  query.mockReset();
  setTemplateSrv({ replace: (text: string) => text.replaceAll('$host', 'x') } as unknown as TemplateSrv);
});

describe('a variable', () => {
  const scope = { from: NOW - 3_600_000, to: NOW, limit: 9_999 };
  it.each<[string, Partial<VariableQuery> | string, unknown[], string, object]>([
    ['of label values', { kind: 'labelValues', label: 'mode' }, ['a', '__name__', 'b'], 'labels/mode/values', scope],
    [
      'of label values of some series',
      { kind: 'labelValues', label: 'mode', match: 'up{host="$host"}' },
      ['a', '__name__', 'b'],
      'labels/mode/values',
      { ...scope, match: 'up{host="x"}' },
    ],
    [
      'of label names',
      { kind: 'labelNames', match: 'up' },
      ['a', 'b'],
      'labels',
      { ...scope, limit: 10_000, match: 'up' },
    ],
    [
      'as Prometheus has it',
      'label_values(up{a="b", c="d"}, mode)',
      ['a', '__name__', 'b'],
      'labels/mode/values',
      { ...scope, match: 'up{a="b", c="d"}' },
    ],
  ])('%s', async (_, target, values, path, params) => {
    expect(await valuesOf(target)).toEqual(values);
    expect(getResource.mock.calls).toEqual([[path, params, { showErrorAlert: false }]]);
  });

  it('of metrics', async () => {
    getResource.mockResolvedValue([{ name: 'up' }, { name: 'down' }]);
    expect(await valuesOf({ kind: 'metrics', match: '{a="b"}' })).toEqual(['up', 'down']);
    expect(getResource.mock.calls[0]?.slice(0, 2)).toEqual(['metrics', { ...scope, match: '{a="b"}' }]);
  });

  it('with more values than are listed is an error', async () => {
    getResource.mockResolvedValue(Array.from({ length: 9_999 }, String));
    await expect(valuesOf('label_values(job)')).rejects.toThrow('There are more than 9,999 values');
  });

  it('without a label has no values', async () => {
    expect(await valuesOf({ kind: 'labelValues' })).toEqual([]);
    expect(await valuesOf('')).toEqual([]);
    expect(getResource).not.toHaveBeenCalled();
  });

  it('is never answered at once, also when there is nothing to ask for', async () => {
    const next = jest.fn();
    variables.query(request({ kind: 'labelValues' })).subscribe(next);
    for (let i = 0; i < 100; i++) {
      await Promise.resolve();
    }
    expect(next).not.toHaveBeenCalled();
    await new Promise((resolve) => setTimeout(resolve));
    expect(next).toHaveBeenCalledTimes(1);
  });

  it('of a query result has the newest row, by a plain query', async () => {
    const frame = {
      length: 2,
      fields: [
        { name: 'time', values: [NOW - 10_000, NOW] },
        { name: 'a', values: [1, 2.5], labels: { __name__: 'up', host: 'a' } },
        { name: 'b', values: [1, null], labels: { host: 'b' } },
        { name: 'c', values: [null, 0], labels: { host: 'c' } },
      ],
    };
    query.mockReturnValue(of({ data: [frame] }));
    const expr = 'increase(up[$__range]) / $__range_s + ${__range_ms}';
    expect(await valuesOf({ kind: 'queryResult', expr })).toEqual([`up{host="a"} 2.5 ${NOW}`, `{host="c"} 0 ${NOW}`]);
    const [asked] = query.mock.calls[0] as [DataQueryRequest];
    expect(asked.targets).toEqual([{ refId: 'v', withStreaming: false, expr: 'increase(up[3600s]) / 3600 + 3600000' }]);
    expect(asked.range.to.valueOf()).toBe(NOW);
    expect(asked.range.raw.to).not.toBe('now');
  });
});

describe('a query as Prometheus has it', () => {
  it.each<[string, Partial<VariableQuery>]>([
    ['label_values(job)', { kind: 'labelValues', label: 'job', match: undefined }],
    ['label_values(up, job)', { kind: 'labelValues', label: 'job', match: 'up' }],
    ['label_values( up{a="b,c"},job )', { kind: 'labelValues', label: 'job', match: 'up{a="b,c"}' }],
    ['label_names()', { kind: 'labelNames', match: undefined }],
    ['label_names(up)', { kind: 'labelNames', match: 'up' }],
    ['metrics(node_.*)', { kind: 'metrics', match: '{__name__=~".*(?:node_.*).*"}' }],
    ['query_result(topk(5, up))', { kind: 'queryResult', expr: 'topk(5, up)' }],
    [
      'label_values(${metric}{a="b"}, ${label:raw})',
      { kind: 'labelValues', label: '${label:raw}', match: '${metric}{a="b"}' },
    ],
    ['label_values({"温度"}, "Gerät")', { kind: 'labelValues', label: 'Gerät', match: '{"温度"}' }],
  ])('%s', (text, wanted) => {
    expect(variableQuery(text)).toEqual({ refId: 'variable', ...wanted });
    expect(variableQuery({ query: text })).toEqual({ refId: 'variable', ...wanted });
  });

  it.each([
    ['label_values()', 'no name of a label'],
    ['label_values(up{a="b"})', 'no name of a label'],
    ['label_values(up{a="b", c="d"})', 'no name of a label'],
    ['label_values(sum(up))', 'no name of a label'],
    ['query_result()', 'needs an expression'],
    ['labels_values(job)', '“labels_values(job)” is no query of a variable'],
    ['up{a="b"}', 'is no query of a variable'],
  ])('%s says what is wrong', async (text, wrong) => {
    expect(variableError({ query: text })).toContain(wrong);
    await expect(valuesOf(text)).rejects.toThrow(wrong);
    expect(getResource).not.toHaveBeenCalled();
  });

  it('is left as it is when it is ours', () => {
    const ours: VariableQuery = { refId: 'v', kind: 'metrics' };
    expect(variableQuery(ours)).toBe(ours);
  });
});
