import type { DataSourcePluginOptionsEditorProps } from '@grafana/data';
import { FieldSet, Text } from '@grafana/ui';
import React, { useState } from 'react';
import { SOURCES, sourceOf } from '../sources';
import type { Options, Secrets } from '../types';
import { ChoiceField } from './config/fields';
import { LimitsSection } from './config/LimitsSection';
import { Settings, withOptions } from './config/settings';
import { DocsLink } from './DocsLink';

const OPTIONS = SOURCES.map(({ name, label, description }) => ({ value: name, label, description }));

export function ConfigEditor({
  options: settings,
  onOptionsChange: onChange,
}: DataSourcePluginOptionsEditorProps<Options, Secrets>) {
  const { name, docs, Settings: SourceSettings } = sourceOf(settings.jsonData);
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
        <Text element="p" color="secondary">
          <DocsLink page="first-panel.md">Your first panel</DocsLink> and{' '}
          <DocsLink page={docs}>all about this source</DocsLink>
        </Text>
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
