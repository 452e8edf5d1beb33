import type { QueryEditorProps } from '@grafana/data';
import { pick } from 'lodash';
import React, { useEffect } from 'react';
import type { DataSource } from '../datasource';
import { foreignTo } from '../sources';
import type { Options, Query } from '../types';

/**
 * The editor of whatever the data source is asked in. Where the query was made for another source, Grafana has handed it
 * over with the panel: it begins as a new one does.
 */
export function QueryEditor(props: QueryEditorProps<DataSource, Query, Options>) {
  const { datasource, query, onChange, onRunQuery } = props;
  const { source } = datasource;
  const isForeign = foreignTo(source, query) !== undefined;
  useEffect(() => {
    if (isForeign) {
      onChange({ ...pick(query, KEPT), ...datasource.getDefaultQuery() });
      onRunQuery();
    }
  });
  return isForeign ? null : <source.QueryEditor {...props} />;
}

/** What is Grafana's in a query. */
const KEPT = ['refId', 'key', 'hide', 'datasource', 'queryType'] as const;
