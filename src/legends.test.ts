import { createDataFrame } from '@grafana/data';
import { apart } from './legends';
import type { Query } from './types';

const frame = (refId: string, ...names: string[]) =>
  createDataFrame({
    refId,
    fields: ['', ...names].map((name) => ({ name: `{${name}}`, config: name ? { displayNameFromDS: name } : {} })),
  });

const query = (refId: string, legend?: string) => ({ refId, legend }) as Query;

const names = (targets: Query[], ...data: Array<ReturnType<typeof frame>>) =>
  apart(targets)({ data }).data.map(({ fields }) =>
    (fields as Array<{ config: { displayNameFromDS?: string } }>).flatMap((f) => f.config.displayNameFromDS ?? []),
  );

describe('series of several queries with the same name', () => {
  it('are told apart by the refId', () => {
    const targets = [query('A'), query('B'), query('C')];
    const data = [frame('A', 'hall', 'store'), frame('B', 'hall', 'yard'), frame('C', 'hall')];
    expect(names(targets, ...data)).toEqual([['hall (A)', 'store'], ['hall (B)', 'yard'], ['hall (C)']]);
    expect(data[0]!.fields[1]!.config.displayNameFromDS).toBe('hall'); // other panels may have the same frame
  });

  it('keep a legend that somebody wrote', () => {
    expect(names([query('A', '{{room}}'), query('B')], frame('A', 'hall'), frame('B', 'hall'))).toEqual([
      ['hall'],
      ['hall (B)'],
    ]);
  });

  it('of one query stay as they are', () => {
    const answer = { data: [frame('A', 'hall'), frame('A', 'hall')] };
    expect(apart([query('A'), query('B')])(answer)).toBe(answer);
  });
});
