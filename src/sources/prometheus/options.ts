/** Times are in milliseconds; what is absent has the back end's default. */
export interface PrometheusOptions {
  prometheus?: {
    httpMethod?: 'POST' | 'GET';
    delay?: number;
    queryTimeout?: number;
    interval?: number;
    lookback?: number;
  };
}
