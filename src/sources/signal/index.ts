import { lazily } from '../../components/lazily';
import { toNumber } from '../interpolate';
import type { Source } from '../source';
import { DEFAULT_QUERY, type SignalQuery } from './query';

export const signal: Source<SignalQuery, object> = {
  name: 'signal',
  label: 'Signal',
  description: 'A test signal, the same in every process at every time.',
  docs: 'signal.md',
  key: 'shape',
  defaultQuery: () => DEFAULT_QUERY,
  isComplete: () => true,
  text: (query) => {
    const { shape, lowerLimit, upperLimit, tickInterval } = { ...DEFAULT_QUERY, ...query };
    return `${shape} from ${lowerLimit} to ${upperLimit} every ${tickInterval} ms`;
  },
  interpolate: (saved, { text }) => {
    const query = { ...DEFAULT_QUERY, ...saved };
    return {
      ...query,
      shape: text(query.shape),
      lowerLimit: toNumber(query.lowerLimit, text),
      upperLimit: toNumber(query.upperLimit, text),
      tickInterval: toNumber(query.tickInterval, text),
    };
  },
  QueryEditor: lazily(async () => (await import('./SignalEditor')).SignalEditor),
};
