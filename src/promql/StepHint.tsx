import { css } from '@emotion/css';
import { GrafanaTheme2, PanelData } from '@grafana/data';
import { Icon, Text, Tooltip, useStyles2 } from '@grafana/ui';
import React from 'react';
import { formatDuration } from '../components/config/units';

interface StepHintProps {
  refId: string;
  data?: PanelData;
  /** How far apart the source's samples usually are, in milliseconds. */
  interval: number;
}

/** The time between two rows of the current answer. */
export function StepHint({ refId, data, interval }: StepHintProps) {
  const styles = useStyles2(getStyles);
  const step = data && stepOf(data, refId);
  if (!step) {
    return null;
  }
  const isCoarse = step > interval;
  const help = isCoarse
    ? `Samples come every ${formatDuration(interval)}. Over this time range there is room for one row per ` +
      `${formatDuration(step)}: for finer rows choose a shorter time range, or raise Max data points or lower Min interval ` +
      'in the query options of the panel. Functions such as rate and max_over_time, over $__rate_interval or $__interval, ' +
      'take in what lies between two rows.'
    : 'One row for each time that samples come. For coarser rows raise Min interval in the query options of the panel.';
  return (
    <Tooltip content={help}>
      <span className={styles.hint}>
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

const getStyles = (theme: GrafanaTheme2) => ({
  hint: css({ lineHeight: theme.spacing(theme.components.height.md), whiteSpace: 'nowrap' }),
});
