import { getBackendSrv } from '@grafana/runtime';
import { Alert, Button, ConfirmModal, Field, Input, Stack } from '@grafana/ui';
import React, { ReactNode, useId, useState } from 'react';
import { lastValueFrom } from 'rxjs';
import { count } from './RecorderStatus';
import { messageOf } from './status';

/** Some series, by their selector and number, or all that was recorded. */
type Chosen = { match: string; series: number } | 'all';

/** Deletes what a recorder has recorded, once one has seen how much that is and confirmed it. */
export function DeleteSamples({ uid }: { uid: string }) {
  const matchId = useId();
  const [match, setMatch] = useState('');
  const [chosen, setChosen] = useState<Chosen>();
  const [outcome, setOutcome] = useState<ReactNode>();

  /** Does something, and shows why it failed. */
  const attempt = async (what: string, does: () => Promise<void>) => {
    setOutcome(undefined);
    try {
      await does();
    } catch (error) {
      setOutcome(<Alert severity="error" title={`${what}: ${messageOf(error)}`} />);
    }
  };
  const find = () =>
    attempt('The series could not be counted', async () => {
      const { series } = await request<{ series: number }>('GET', seriesUrl(uid, match));
      if (series > 0) {
        setChosen({ match, series });
      } else {
        setOutcome(<Alert severity="info" title="No series match" />);
      }
    });
  const remove = (what: Chosen) =>
    attempt('The samples could not be deleted', async () => {
      await request('DELETE', what === 'all' ? `${resources(uid)}/store` : seriesUrl(uid, what.match));
      setOutcome(<Alert severity="success" title={`${subject(what)} have been deleted`} />);
    }).finally(() => setChosen(undefined));

  return (
    <>
      <Field
        label="Delete series"
        description='All samples of the series that a selector matches, such as {topic=~"test/.*"}. You see how many series these are before.'
        htmlFor={matchId}
      >
        <Stack direction="row">
          <Input
            id={matchId}
            value={match}
            placeholder='temperature{topic="plant/1"}'
            onChange={({ currentTarget }) => setMatch(currentTarget.value)}
          />
          <Button
            variant="destructive"
            fill="outline"
            icon="trash-alt"
            disabled={match.trim() === ''}
            onClick={() => void find()}
          >
            Delete series
          </Button>
        </Stack>
      </Field>
      <Field
        label="Delete what was recorded"
        description="All of it, at once and for good. Recording goes on. Delete the samples before you delete the data source: Grafana does not tell the recorder."
      >
        <Stack direction="row">
          <Button variant="destructive" fill="outline" icon="trash-alt" onClick={() => setChosen('all')}>
            Delete all samples
          </Button>
        </Stack>
      </Field>
      {chosen && (
        <ConfirmModal
          isOpen
          title="Delete samples"
          body={`${subject(chosen)} will be deleted for good. Recording goes on.`}
          confirmText="Delete for good"
          dismissText="Keep them"
          onConfirm={() => remove(chosen)}
          onDismiss={() => setChosen(undefined)}
        />
      )}
      {outcome}
    </>
  );
}

const subject = (what: Chosen) =>
  what === 'all' ? 'All samples' : `All samples of ${count(what.series)} series that match ${what.match}`;

const resources = (uid: string) => `/api/datasources/uid/${uid}/resources`;

/** Samples of any time that match, also those ahead of the clock. */
const seriesUrl = (uid: string, match: string) =>
  `${resources(uid)}/series?${new URLSearchParams({ match, from: '0', to: `${Number.MAX_SAFE_INTEGER}` })}`;

async function request<T>(method: string, url: string): Promise<T> {
  const fetched = getBackendSrv().fetch<T>({ url, method, showErrorAlert: false, showSuccessAlert: false });
  return (await lastValueFrom(fetched)).data;
}
