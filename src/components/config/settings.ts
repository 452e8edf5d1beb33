import type { DataSourceSettings } from '@grafana/data';
import type { Options, Secrets } from '../../types';

/** The data source as it is being edited. */
export type Settings = DataSourceSettings<Options, Secrets>;

/** What every part of the page gets: the whole data source, so that it can change several things at once. */
export interface PartProps {
  settings: Settings;
  onChange: (settings: Settings) => void;
}

export const withOptions = (settings: Settings, change: Partial<Options>): Settings => ({
  ...settings,
  jsonData: { ...settings.jsonData, ...change },
});
