import { getBackendSrv } from '@grafana/runtime';
import { Alert, Button, Field, Stack } from '@grafana/ui';
import React, { useState } from 'react';
import { lastValueFrom } from 'rxjs';
import { messageOf } from './status';

/** Deletes all that a recorder has recorded, once one has confirmed it. */
export function DeleteSamples({ uid }: { uid: string }) {
  const [state, setState] = useState<'asked' | 'busy' | 'done' | { error: string }>();
  const remove = async () => {
    setState('busy');
    try {
      const url = `/api/datasources/uid/${uid}/resources/store`;
      await lastValueFrom(
        getBackendSrv().fetch({ url, method: 'DELETE', showErrorAlert: false, showSuccessAlert: false }),
      );
      setState('done');
    } catch (error) {
      setState({ error: messageOf(error) });
    }
  };

  return (
    <>
      <Field
        label="Delete what was recorded"
        description="All of it, at once and for good. Recording goes on. Delete the samples before you delete the data source: Grafana does not tell the recorder."
      >
        <Stack direction="row">
          {state === 'asked' || state === 'busy' ? (
            <>
              <Button variant="destructive" disabled={state === 'busy'} onClick={() => void remove()}>
                Delete all samples for good
              </Button>
              <Button variant="secondary" disabled={state === 'busy'} onClick={() => setState(undefined)}>
                Keep them
              </Button>
            </>
          ) : (
            <Button variant="destructive" fill="outline" icon="trash-alt" onClick={() => setState('asked')}>
              Delete all samples
            </Button>
          )}
        </Stack>
      </Field>
      {state === 'done' && <Alert severity="success" title="All samples have been deleted" />}
      {typeof state === 'object' && (
        <Alert severity="error" title={`The samples could not be deleted: ${state.error}`} />
      )}
    </>
  );
}
