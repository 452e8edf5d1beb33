import type { DataSourceInstanceSettings, QueryEditorProps } from '@grafana/data';
import { DataSourcePicker } from '@grafana/runtime';
import { Alert, InlineField, Stack } from '@grafana/ui';
import { pick } from 'lodash';
import React, { useEffect, useState } from 'react';
import type { DataSource } from '../datasource';
import { foreignTo } from '../sources';
import type { Options, Query } from '../types';
import { isDrawn } from './StreamingSwitch';

type Props = QueryEditorProps<DataSource, Query, Options>;

/** The editor of whatever answers the query: the panel's data source, or another one that the query names. */
export function QueryEditor(props: Props) {
  const { datasource, query, app, onChange, onRunQuery } = props;
  const uid = query.from?.uid;
  const { other, error } = useOther(datasource, uid);
  const choose = async (chosen?: string) => {
    const next = chosen ? await datasource.other(chosen) : datasource;
    onChange({ ...pick(query, KEPT), ...next.getDefaultQuery(), ...(chosen && { from: { uid: chosen } }) });
    onRunQuery();
  };
  const chosen = uid ? other : datasource;

  return (
    <Stack direction="column" gap={0.5}>
      {(isDrawn(app) || uid) && (
        <InlineField
          label="From"
          tooltip="Another Continuum data source for this query alone. Unlike Grafana's Mixed, the panel goes on streaming. Alert rules cannot use it."
        >
          <DataSourcePicker
            inputId={`continuum-${query.refId}-from`}
            current={uid ?? null}
            pluginId={datasource.type}
            filter={(settings: DataSourceInstanceSettings) => settings.uid !== datasource.uid}
            noDefault
            variables
            placeholder="This data source"
            onChange={(settings) => void choose(settings.uid)}
            onClear={() => void choose()}
          />
        </InlineField>
      )}
      {error && <Alert severity="error" title={error} />}
      {chosen && <SourceEditor {...props} datasource={chosen} />}
    </Stack>
  );
}

/** Where the query was made for another source, Grafana has handed it over with the panel: it begins as a new one does. */
function SourceEditor(props: Props) {
  const { datasource, query, onChange, onRunQuery } = props;
  const { source } = datasource;
  const isForeign = foreignTo(source, query) !== undefined;
  useEffect(() => {
    if (isForeign) {
      onChange({ ...pick(query, [...KEPT, 'from']), ...datasource.getDefaultQuery() });
      onRunQuery();
    }
  });
  return isForeign ? null : <source.QueryEditor {...props} />;
}

/** What is Grafana's in a query. */
const KEPT = ['refId', 'key', 'hide', 'datasource', 'queryType'] as const;

/** The data source that a query names, once it is there, or why there is none. */
function useOther(datasource: DataSource, uid?: string): { other?: DataSource; error?: string } {
  const [found, setFound] = useState<{ uid: string; other?: DataSource; error?: string }>();
  useEffect(() => {
    if (uid) {
      datasource.other(uid).then(
        (other) => setFound({ uid, other }),
        (error: unknown) => setFound({ uid, error: (error as Error).message }),
      );
    }
  }, [datasource, uid]);
  return found?.uid === uid ? (found ?? {}) : {};
}
