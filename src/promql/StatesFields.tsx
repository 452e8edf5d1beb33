import { Button, InlineField } from '@grafana/ui';
import React, { useEffect, useMemo, useState } from 'react';
import { Choice, found } from '../components/Choice';
import type { Names } from './names';
import type { PromQLQuery } from './query';
import { toVisual } from './visual';

interface Props {
  id: string;
  query: PromQLQuery;
  names: Names;
  onChange: (change: Partial<PromQLQuery>) => void;
}

/** Offers the format of texts for a metric that is a set of states, and asks where other metrics have them. */
export function StatesFields({ id, query, names, onChange }: Props) {
  const { expr = '', format, stateLabel } = query;
  const metric = useMemo(() => toVisual(expr)?.metric, [expr]);
  const labels = useLabels(names, metric);
  const isSet = metric !== undefined && labels.includes(metric);
  if (format === 'states') {
    return (
      <InlineField
        label="State label"
        htmlFor={id}
        tooltip="The label whose values are the states. By default the one that is called as the metric is, as in OpenMetrics; for kube_pod_status_phase it is phase."
      >
        <Choice
          id={id}
          width={24}
          placeholder={isSet ? metric : 'As the metric'}
          options={(search) => Promise.resolve(found(search, labels))}
          value={stateLabel}
          onChange={(label) => onChange({ stateLabel: label })}
          onClear={() => onChange({ stateLabel: undefined })}
        />
      </InlineField>
    );
  }
  return !format && isSet ? (
    <Button
      variant="secondary"
      fill="outline"
      tooltip="This metric is 1 for the state that holds and 0 for all others. The format shows which one it is, as a text: for a State timeline, Stat or Table."
      onClick={() => onChange({ format: 'states' })}
    >
      Show as states
    </Button>
  ) : null;
}

/** The labels of a metric, none until they are there. */
function useLabels(names: Names, metric?: string): string[] {
  const [known, setKnown] = useState<{ metric: string; labels: string[] }>();
  useEffect(() => {
    let ended = false;
    if (metric) {
      names.labels(metric).then(
        (labels) => !ended && setKnown({ metric, labels }),
        () => undefined, // nothing is offered
      );
    }
    return () => {
      ended = true;
    };
  }, [names, metric]);
  return known && known.metric === metric ? known.labels : [];
}
