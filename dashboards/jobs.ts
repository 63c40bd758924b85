/** The scrape job of gateways in `otel/prometheus.yml`. */
export const GATEWAY_JOB = 'gatewatch'
