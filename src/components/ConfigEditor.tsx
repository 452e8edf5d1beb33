import { DataSourcePluginOptionsEditorProps } from '@grafana/data';
import { FieldSet } from '@grafana/ui';
import React, { useState } from 'react';
import { DEFAULT_SOURCE, Options, Secrets, SourceName } from '../types';
import { ChoiceField } from './config/fields';
import { LimitsSection } from './config/LimitsSection';
import { MetricsAPISection } from '../sources/metricsapi/MetricsAPISection';
import { PrometheusSection } from '../sources/prometheus/PrometheusSection';
import { RecorderSection } from '../sources/recorder/RecorderSection';
import { Settings, withOptions } from './config/settings';

const SOURCES: Array<{ value: SourceName; label: string; description: string }> = [
  {
    value: 'recorder',
    label: 'Recorder (this machine)',
    description: 'Records this machine, messages and what is pushed. Asked in PromQL.',
  },
  {
    value: 'prometheus',
    label: 'Prometheus-compatible server',
    description: 'Prometheus, Mimir, Thanos, VictoriaMetrics and others. Asked in PromQL.',
  },
  { value: 'metrics-api', label: 'Metrics API', description: 'An HTTP service of your own, with three requests.' },
  { value: 'signal', label: 'Signal', description: 'A test signal, the same in every process at every time.' },
];

const sourceOf = (settings: Settings) => settings.jsonData.source ?? DEFAULT_SOURCE;

export function ConfigEditor({
  options: settings,
  onOptionsChange: onChange,
}: DataSourcePluginOptionsEditorProps<Options, Secrets>) {
  const source = sourceOf(settings);
  const saved = useSavedSource(settings) === source;
  const part = { settings, onChange };

  return (
    <>
      <FieldSet>
        <ChoiceField
          label="Source"
          options={SOURCES}
          value={source}
          disabled={settings.readOnly}
          onChange={(value) => onChange(withOptions(settings, { source: value }))}
        />
      </FieldSet>
      {source === 'recorder' && <RecorderSection {...part} saved={saved} />}
      {source === 'prometheus' && <PrometheusSection {...part} />}
      {source === 'metrics-api' && <MetricsAPISection {...part} />}
      <LimitsSection {...part} />
    </>
  );
}

/** The source that the data source was last saved with: each saving raises its version. */
function useSavedSource(settings: Settings): SourceName {
  const [saved, setSaved] = useState({ version: settings.version, source: sourceOf(settings) });
  if (settings.version !== saved.version) {
    setSaved({ version: settings.version, source: sourceOf(settings) });
  }
  return saved.source;
}
