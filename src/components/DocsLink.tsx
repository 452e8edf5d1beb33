import { TextLink } from '@grafana/ui';
import React from 'react';

const DOCS = 'https://github.com/continuum-live/continuum-datasource/blob/main/docs/';

/** A link to a page of the documentation, such as `queries.md`, within a text. */
export function DocsLink({ page, children }: { page: string; children: string }) {
  return (
    <TextLink href={DOCS + page} external inline>
      {children}
    </TextLink>
  );
}
