import type { QueryEditorHelpProps } from '@grafana/data';
import React from 'react';
import type { DataSource } from '../datasource';
import type { Query } from '../types';
import { DocsLink } from './DocsLink';

/** What the "?" beside the data source opens. */
export function Help({ datasource, query, onClickExample }: QueryEditorHelpProps<Query>) {
  // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- Grafana knows it by its interface
  const { source } = datasource as DataSource;
  return (
    <>
      <h2>{source.label}</h2>
      {source.Help && <source.Help query={query} text={source.text} onClickExample={onClickExample} />}
      <p>
        More is in the documentation: <DocsLink page="first-panel.md">your first panel</DocsLink>,{' '}
        <DocsLink page="queries.md">queries</DocsLink>, <DocsLink page="alerting.md">alerting</DocsLink> and{' '}
        <DocsLink page="troubleshooting.md">troubleshooting</DocsLink>.
      </p>
    </>
  );
}
