import { QueryEditorProps } from '@grafana/data';
import React from 'react';
import { DataSource } from '../datasource';
import { Options, Query } from '../types';
import { PromQLEditor } from '../promql/PromQLEditor';
import { MetricsAPIEditor } from '../sources/metricsapi/MetricsAPIEditor';
import { SignalEditor } from '../sources/signal/SignalEditor';

/** The editor of whatever the data source is asked in. */
export function QueryEditor(props: QueryEditorProps<DataSource, Query, Options>) {
  switch (props.datasource.source) {
    case 'signal':
      return <SignalEditor {...props} />;
    case 'metrics-api':
      return <MetricsAPIEditor {...props} />;
    default:
      return <PromQLEditor {...props} />;
  }
}
