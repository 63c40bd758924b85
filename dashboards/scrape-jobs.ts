/** The scrape job of gateways in `otel/pipeline/prometheus.yml`. */
export const GATEWAY_JOB = 'gatewatch'
