/** Times are in milliseconds; what is absent has the back end's default. */
export interface MetricsAPIOptions {
  metricsApi?: {
    endpoint?: string;
    keyHeader?: string;
    delay?: number;
  };
}
