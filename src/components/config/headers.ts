import { omit } from 'lodash';
import { isConfigured, typedSecret, withoutSecret, withSecret } from './secrets';
import { Settings, withOptions } from './settings';

const nameKey = (n: number) => `httpHeaderName${n}` as const;

/** The key of the secret that is the value of the n-th header, from 1 on. */
export const valueKey = (n: number): string => `httpHeaderValue${n}`;

/** The names of the headers that are sent along, in their order. */
export function headersOf({ jsonData }: Settings): string[] {
  const names: string[] = [];
  for (let name = jsonData[nameKey(1)]; name !== undefined; name = jsonData[nameKey(names.length + 1)]) {
    names.push(name);
  }
  return names;
}

/** Names the n-th header, which may be the one after the last. Its value stays. */
export const nameHeader = (settings: Settings, n: number, name: string): Settings =>
  withOptions(settings, { [nameKey(n)]: name });

/**
 * Removes the n-th header. The SDK needs headers that are numbered without a gap, so those after it get lower numbers.
 * Values that were just typed move along. Values that Grafana keeps cannot move, because Grafana does not give them
 * back; the names of their headers are in `lost`.
 */
export function removeHeader(settings: Settings, n: number): { settings: Settings; lost: string[] } {
  const names = headersOf(settings);
  const lost: string[] = [];
  let removed = settings;
  for (let i = n; i < names.length; i++) {
    removed = nameHeader(removed, i, names[i]!);
    const typed = typedSecret(settings, valueKey(i + 1));
    removed = typed ? moved(removed, i, typed) : withoutSecret(removed, valueKey(i));
    if (isConfigured(settings, valueKey(i + 1))) {
      lost.push(names[i]!);
    }
  }
  removed = withoutSecret(removed, valueKey(names.length));
  return { settings: { ...removed, jsonData: omit(removed.jsonData, nameKey(names.length)) }, lost };
}

const moved = (settings: Settings, n: number, value: string) =>
  withSecret(withoutSecret(settings, valueKey(n)), valueKey(n), value);
