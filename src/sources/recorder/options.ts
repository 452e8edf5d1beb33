import { Settings, withOptions } from '../../components/config/settings';

/** The settings of a recorder. Times are in milliseconds; what is absent has the back end's default. */
export interface RecorderOptions {
  retention?: number;
  maxBytes?: number;
  outOfOrder?: number;
  interval?: number;
  lookback?: number;
  maxWait?: number;
  maxAhead?: number;
  diskLow?: number;
  diskCritical?: number;
  idleStop?: number;
  noHost?: boolean;
  hostInterval?: number;
  inputs?: Input[];
  /** Recording rules, as in Prometheus' rule files. */
  rules?: string;
  rulesRetention?: number;
}

/** What fills a recorder, besides the metrics of this machine. */
export type Input = MQTTInput | NATSInput | WebSocketInput | PushInput;

export interface MQTTInput {
  type: 'mqtt';
  name: string;
  url?: string;
  version?: '5' | '3.1.1';
  user?: string;
  clientId?: string;
  topics?: string[];
  qos?: 0 | 1 | 2;
  serverName?: string;
  skipVerify?: boolean;
  rules?: Rules;
}

export interface NATSInput {
  type: 'nats';
  name: string;
  url?: string;
  user?: string;
  subjects?: string[];
  stream?: string;
  serverName?: string;
  skipVerify?: boolean;
  rules?: Rules;
}

export interface WebSocketInput {
  type: 'websocket';
  name: string;
  url?: string;
  send?: string;
  pingInterval?: number;
  maxBytes?: number;
  skipVerify?: boolean;
  rules?: Rules;
}

export interface PushInput {
  type: 'push';
  name: string;
  formats?: PushFormat[];
  maxBytes?: number;
  maxSeries?: number;
  samplesPerSecond?: number;
  states?: string[];
}

export type PushFormat = 'influx' | 'prometheus';

/** How messages become samples. */
export interface Rule {
  leaveOut?: boolean;
  format?: 'auto' | 'number' | 'json' | 'influx' | 'telegraf' | 'thingsboard' | 'sparkplug' | 'cbor';
  pattern?: string;
  metric?: string;
  labelKeys?: string[];
  each?: string;
  states?: string[];
  words?: Record<string, number>;
  ends?: string[];
  regexp?: string;
  timeKey?: string;
  timeUnit?: 'auto' | 's' | 'ms' | 'us' | 'ns';
  timeLayout?: string;
  timezone?: string;
  labels?: Record<string, string>;
}

export interface Rules extends Rule {
  /** Absent for inputs that were made before rules had versions. */
  version?: number;
  maxSeries?: number;
  /** Units of metrics, by name. */
  units?: Record<string, string>;
  /** Rules for some topics each. The first one whose pattern fits applies. */
  topics?: Rule[];
}

export const withRecorder = (settings: Settings, change: Partial<RecorderOptions>): Settings =>
  withOptions(settings, { recorder: { ...settings.jsonData.recorder, ...change } });
