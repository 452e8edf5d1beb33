import { highlight } from './language';

/** The tokens as text, each with its kind. */
function painted(before: string, line: string): string[] {
  const tokens = highlight(before, line);
  return tokens
    .map(({ startIndex, scopes }, i) => [scopes, line.slice(startIndex, tokens[i + 1]?.startIndex)] as const)
    .filter(([scopes]) => scopes)
    .map(([scopes, text]) => `${scopes} ${text}`);
}

describe('highlighting', () => {
  it.each<[string, string[]]>([
    ['', []],
    ['up', []],
    [
      'sum by (a) (rate(up{b="c"}[5m])) * 2',
      ['type sum', 'keyword by', 'tag a', 'type rate', 'tag b', 'string "c"', 'number 5m', 'number 2'],
    ],
    [
      'rate(up{a="x-$host"}[$__rate_interval])',
      ['type rate', 'tag a', 'string "x-', 'variable $host', 'string "', 'variable $__rate_interval'],
    ],
    ['$metric and up # why', ['variable $metric', 'keyword and', 'comment # why']],
    ['count_values("v", up offset 5m)', ['type count_values', 'string "v"', 'keyword offset', 'number 5m']],
  ])('%s', (line, wanted) => {
    expect(painted('', line)).toEqual(wanted);
  });

  it('goes on from the lines before', () => {
    expect(painted('sum by (\n', '  a, b')).toEqual(['tag a', 'tag b']);
    expect(painted('up{\n', 'a="b"')).toEqual(['tag a', 'string "b"']);
  });
});
