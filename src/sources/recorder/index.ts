import { lazily } from '../../components/lazily';
import { promQL, type PromQLQuery } from '../../promql';
import type { Source } from '../source';
import type { RecorderOptions } from './options';

/** The query of a new panel. Every machine has these metrics, so it shows something at once. */
const STARTER = 'sum by (mode) (rate(node_cpu_seconds_total{mode!="idle"}[$__rate_interval]))';

export const recorder: Source<PromQLQuery, { recorder?: RecorderOptions }> = {
  ...promQL,
  name: 'recorder',
  label: 'Recorder',
  description:
    'Keeps a history here of what has none: this machine, messages of a bus, what is pushed. Asked in PromQL.',
  docs: 'recorder.md',
  defaultQuery: ({ recorder: { noHost, inputs } = {} }) => {
    // If not only this machine is recorded, only the user knows what to query.
    const onlyHost = !noHost && !inputs?.length;
    return { withStreaming: true, expr: onlyHost ? STARTER : '' };
  },
  sampleInterval: ({ recorder }) => recorder?.interval ?? recorder?.hostInterval ?? 1000,
  Settings: lazily(async () => (await import('./RecorderSection')).RecorderSection),
};
