import { type DataSourceInstanceSettings, InternalTimeZones, type QueryEditorProps } from '@grafana/data';
import { DataSourcePicker } from '@grafana/runtime';
import { Alert, Combobox, InlineField, Stack, TimeZonePicker } from '@grafana/ui';
import { pick } from 'lodash';
import React, { useEffect, useState } from 'react';
import type { DataSource } from '../datasource';
import { foreignTo, hasStates } from '../sources';
import type { Format, Options, Query } from '../types';
import { ianaName } from '../zones';
import { isDrawn } from './StreamingSwitch';

type Props = QueryEditorProps<DataSource, Query, Options>;

/** The editor of whatever answers the query: the panel's data source, or another one that the query names. */
export function QueryEditor(props: Props) {
  const { datasource, query, app, onChange, onRunQuery } = props;
  const uid = query.from?.uid;
  const { other, error } = useOther(datasource, uid);
  const choose = async (chosen?: string) => {
    // What cannot be found, as when a variable has no value yet, is said where the query is.
    const next = chosen ? await datasource.other(chosen).catch(() => undefined) : datasource;
    onChange({ ...(next ? newQuery(query, next) : query), ...(chosen && { from: { uid: chosen } }) });
    onRunQuery();
  };
  const chosen = uid ? other : datasource;
  const save = (change: Partial<Query>) => {
    onChange({ ...query, ...change });
    onRunQuery();
  };
  const drawn = isDrawn(app);
  const id = (name: string) => `continuum-${query.refId}-${name}`;

  return (
    <Stack direction="column" gap={0.5}>
      <Stack direction="row" wrap="wrap" gap={0.5}>
        {(drawn || uid) && (
          <InlineField
            label="From"
            tooltip="Another Continuum data source for this query alone. Unlike Grafana's Mixed, the panel goes on streaming. Alert rules cannot use it."
          >
            <DataSourcePicker
              inputId={id('from')}
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
        <InlineField
          label="Format"
          htmlFor={id('format')}
          tooltip={
            drawn
              ? 'Time series, or a table of now: one row per series, with its labels, newest value and the time of it.'
              : 'Time series, to be reduced, or the newest value of each series, which a threshold takes as it is.'
          }
        >
          <Combobox
            id={id('format')}
            width={22}
            options={drawn && chosen && hasStates(chosen.source) ? [...FORMATS, STATES] : FORMATS}
            value={query.format ?? ''}
            onChange={({ value }) => save({ format: value || undefined })}
          />
        </InlineField>
        {(!drawn || query.timezone) && (
          <InlineField
            label="Time zone"
            tooltip="Whose days and hours a row means at steps of an hour and more. Panels go by their dashboard's time zone, alert rules by UTC."
          >
            <TimeZonePicker
              inputId={id('timezone')}
              width={30}
              includeInternal={[InternalTimeZones.default, InternalTimeZones.utc]}
              value={query.timezone === 'UTC' ? InternalTimeZones.utc : (query.timezone ?? '')}
              onChange={(zone) => save({ timezone: zone ? ianaName(zone) : undefined })}
            />
          </InlineField>
        )}
      </Stack>
      {error && <Alert severity="error" title={error} />}
      {chosen && <SourceEditor {...props} datasource={chosen} />}
    </Stack>
  );
}

/**
 * When a panel changes to another data source, Grafana keeps its queries. A query that was made for another source is
 * replaced by a new one.
 */
export function SourceEditor(props: Props) {
  const { datasource, query, onChange, onRunQuery } = props;
  const { source } = datasource;
  const isForeign = foreignTo(source, query) !== undefined;
  useEffect(() => {
    if (isForeign) {
      onChange({ ...newQuery(query, datasource), ...pick(query, 'from') });
      onRunQuery();
    }
  });
  return isForeign ? null : <source.QueryEditor {...props} />;
}

const FORMATS: Array<{ value: Format | ''; label: string }> = [
  { value: '', label: 'Time series' },
  { value: 'newest', label: 'Newest per series' },
];

/** Of queries in PromQL. */
const STATES = { value: 'states' as const, label: 'States' };

/** What is Grafana's in a query, or means the same to all sources. */
const KEPT = ['refId', 'key', 'hide', 'datasource', 'queryType', 'format', 'timezone', 'event'] as const;

/** A query to begin with in place of another one. */
const newQuery = (old: Query, datasource: DataSource): Query => ({
  ...pick(old, KEPT),
  ...(old.format === 'states' && !hasStates(datasource.source) && { format: undefined }),
  ...datasource.getDefaultQuery(),
});

/** The data source that a query names, once it is loaded, or why there is none. */
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
