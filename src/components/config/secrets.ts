import { omit } from 'lodash';
import { Settings } from './settings';

/** Sets a secret as typed. */
export const withSecret = (settings: Settings, key: string, value: string): Settings => ({
  ...settings,
  secureJsonData: { ...settings.secureJsonData, [key]: value },
});

/** Forgets what was typed and, by saving an empty text in its place, what Grafana keeps. */
export function withoutSecret(settings: Settings, key: string): Settings {
  const typed = omit(settings.secureJsonData, key);
  if (!(key in settings.secureJsonFields)) {
    return { ...settings, secureJsonData: typed };
  }
  return {
    ...settings,
    secureJsonData: { ...typed, [key]: '' },
    secureJsonFields: { ...settings.secureJsonFields, [key]: false },
  };
}

export const isConfigured = (settings: Settings, key: string): boolean => settings.secureJsonFields[key] ?? false;

export const typedSecret = (settings: Settings, key: string): string => settings.secureJsonData?.[key] ?? '';

/** The keys of secrets that begin with the prefix, kept by Grafana or typed. */
export function secretsOf(settings: Settings, prefix: string): string[] {
  const keys = new Set([...Object.keys(settings.secureJsonFields), ...Object.keys(settings.secureJsonData ?? {})]);
  return [...keys].filter((key) => key.startsWith(prefix));
}
