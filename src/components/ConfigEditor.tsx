import type { DataSourcePluginOptionsEditorProps } from '@grafana/data';
import { FieldSet } from '@grafana/ui';
import React, { useState } from 'react';
import { SOURCES, sourceOf } from '../sources';
import type { Options, Secrets } from '../types';
import { ChoiceField } from './config/fields';
import { LimitsSection } from './config/LimitsSection';
import { Settings, withOptions } from './config/settings';

const OPTIONS = SOURCES.map(({ name, label, description }) => ({ value: name, label, description }));

export function ConfigEditor({
  options: settings,
  onOptionsChange: onChange,
}: DataSourcePluginOptionsEditorProps<Options, Secrets>) {
  const { name, Settings: SourceSettings } = sourceOf(settings.jsonData);
  const saved = useSavedSource(settings) === name;
  const part = { settings, onChange };

  return (
    <>
      <FieldSet>
        <ChoiceField
          label="Source"
          options={OPTIONS}
          value={name}
          disabled={settings.readOnly}
          onChange={(value) => onChange(withOptions(settings, { source: value }))}
        />
      </FieldSet>
      {SourceSettings && <SourceSettings {...part} saved={saved} />}
      <LimitsSection {...part} />
    </>
  );
}

/** The name of the source that the data source was last saved with: each saving raises its version. */
function useSavedSource(settings: Settings): string {
  const current = () => ({ version: settings.version, source: sourceOf(settings.jsonData).name });
  const [saved, setSaved] = useState(current);
  if (settings.version !== saved.version) {
    setSaved(current());
  }
  return saved.source;
}
