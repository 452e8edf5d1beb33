import { PanelData } from '@grafana/data';
import { Icon, Text, Tooltip } from '@grafana/ui';
import React from 'react';
import { formatDuration } from '../config/units';

interface StepHintProps {
  refId: string;
  data?: PanelData;
  /** How far apart the source's samples usually are, in milliseconds. */
  interval: number;
}

/** The time between two rows of the current answer. */
export function StepHint({ refId, data, interval }: StepHintProps) {
  const step = data && stepOf(data, refId);
  if (!step) {
    return null;
  }
  const isCoarse = step > interval;
  const help = isCoarse
    ? `Samples come every ${formatDuration(interval)}, but a row shows no more than the time range and the width of ` +
      `the panel allow. For finer rows choose a shorter time range, or raise Max data points or lower Min interval in ` +
      `the query options. What lies between two rows is seen through functions such as max_over_time or rate.`
    : 'A row for each time that there can be a sample. For coarser rows raise Min interval in the query options.';
  return (
    <Tooltip content={help}>
      <span>
        <Text variant="bodySmall" color={isCoarse ? 'primary' : 'secondary'}>
          One row per {formatDuration(step)} <Icon name={isCoarse ? 'exclamation-circle' : 'info-circle'} size="sm" />
        </Text>
      </span>
    </Tooltip>
  );
}

/** The step of a query's answer, in milliseconds. */
export function stepOf({ series }: PanelData, refId: string): number | undefined {
  const frame = series.find((candidate) => candidate.refId === refId);
  return frame?.fields[0]?.config.interval ?? undefined;
}
