import type { QueryEditorHelpProps } from '@grafana/data';
import { TextLink } from '@grafana/ui';
import React from 'react';
import type { DataSource } from '../datasource';
import type { Query } from '../types';

const DOCS = 'https://github.com/continuum-live/continuum-datasource/blob/main/docs/';

/** What the "?" beside the data source opens. */
export function Help({ datasource, query, onClickExample }: QueryEditorHelpProps<Query>) {
  // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- Grafana knows it by its interface
  const { source } = datasource as DataSource;
  return (
    <>
      <h2>{source.label}</h2>
      {source.Help && <source.Help query={query} text={source.text} onClickExample={onClickExample} />}
      <p>
        More is in the documentation:{' '}
        <TextLink href={`${DOCS}first-panel.md`} external inline>
          your first panel
        </TextLink>
        ,{' '}
        <TextLink href={`${DOCS}queries.md`} external inline>
          queries
        </TextLink>
        ,{' '}
        <TextLink href={`${DOCS}alerting.md`} external inline>
          alerting
        </TextLink>{' '}
        and{' '}
        <TextLink href={`${DOCS}troubleshooting.md`} external inline>
          troubleshooting
        </TextLink>
        .
      </p>
    </>
  );
}
