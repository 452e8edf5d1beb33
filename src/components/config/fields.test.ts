import { formatPairs, parsePairs } from './fields';

const headers = { separator: ': ', name: /^[\w-]+$/, example: 'X-Key: value' };

describe('pairs', () => {
  it('may have the names of what every object has', () => {
    const text = 'constructor: 1\n__proto__: 2\ntoString: 3';
    const parsed = parsePairs(text, headers);
    expect(parsed).toHaveProperty('value');
    expect('value' in parsed && formatPairs(parsed.value, headers)).toBe(text);
  });

  it('have each name once', () => {
    expect(parsePairs('a: 1\na: 2', headers)).toEqual({ error: 'enter a only once' });
  });
});
