import { headersOf, nameHeader, removeHeader } from './headers';
import { Settings } from './settings';

const settings = (change: Partial<Settings>): Settings =>
  ({ secureJsonFields: {}, jsonData: {}, ...change }) as Settings;

const three = { httpHeaderName1: 'A', httpHeaderName2: 'B', httpHeaderName3: 'C' };

describe('headers', () => {
  it('are listed up to the first gap, as the SDK reads them', () => {
    expect(headersOf(settings({ jsonData: { ...three, httpHeaderName5: 'E' } }))).toEqual(['A', 'B', 'C']);
  });

  it('are added and renamed', () => {
    const added = nameHeader(nameHeader(settings({}), 1, 'A'), 2, 'B');
    expect(headersOf(nameHeader(added, 1, 'X'))).toEqual(['X', 'B']);
  });

  it('are removed at the end with their value', () => {
    const { settings: left, lost } = removeHeader(
      settings({
        jsonData: three,
        secureJsonFields: { httpHeaderValue1: true, httpHeaderValue2: true, httpHeaderValue3: true },
      }),
      3,
    );
    expect(left.jsonData).toEqual({ httpHeaderName1: 'A', httpHeaderName2: 'B' });
    expect(left.secureJsonData).toEqual({ httpHeaderValue3: '' });
    expect(left.secureJsonFields).toEqual({ httpHeaderValue1: true, httpHeaderValue2: true, httpHeaderValue3: false });
    expect(lost).toEqual([]);
  });

  it('never get the value of one that was removed', () => {
    const { settings: left, lost } = removeHeader(
      settings({
        jsonData: three,
        secureJsonFields: { httpHeaderValue1: true, httpHeaderValue3: true },
        secureJsonData: { httpHeaderValue2: 'typed' },
      }),
      1,
    );
    expect(headersOf(left)).toEqual(['B', 'C']);
    expect(left.secureJsonData).toEqual({ httpHeaderValue1: 'typed', httpHeaderValue3: '' });
    expect(left.secureJsonFields).toEqual({ httpHeaderValue1: false, httpHeaderValue3: false });
    expect(lost).toEqual(['C']);
  });
});
