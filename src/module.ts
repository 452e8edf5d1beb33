import './publicPath';
import { DataSourcePlugin } from '@grafana/data';
import { lazily } from './components/lazily';
import { QueryEditor } from './components/QueryEditor';
import { DataSource } from './datasource';
import type { Options, Query } from './types';

export const plugin = new DataSourcePlugin<DataSource, Query, Options>(DataSource)
  .setConfigEditor(lazily(async () => (await import('./components/ConfigEditor')).ConfigEditor))
  .setQueryEditor(QueryEditor)
  .setQueryEditorHelp(lazily(async () => (await import('./components/Help')).Help));
