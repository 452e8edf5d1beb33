import { Button, InlineField } from '@grafana/ui';
import React, { useEffect, useMemo, useState } from 'react';
import { Choice } from '../components/Choice';
import { labelsOf } from './Builder';
import type { Names } from './names';
import type { PromQLQuery } from './query';
import { selector } from './text';
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
  const isSet = useIsSet(names, metric);
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
          options={labelsOf(names, metric && selector(metric, []))}
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

/** Whether a metric is a set of states: it has a label that is called as it is. False until that is known. */
function useIsSet(names: Names, metric?: string): boolean {
  const [set, setSet] = useState<string>();
  useEffect(() => {
    let ended = false;
    if (metric) {
      names.labels(selector(metric, []), metric).then(
        (labels) => !ended && setSet(labels.includes(metric) ? metric : undefined),
        () => undefined, // nothing is offered
      );
    }
    return () => {
      ended = true;
    };
  }, [names, metric]);
  return metric !== undefined && set === metric;
}
