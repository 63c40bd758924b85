import type { MetricKey } from '../otel/semconv.ts'

/** By what an application that has a gateway of its own reports a metric, or why it does not have it. */
type EmbeddedMetric = { readonly by: string } | { readonly notApplicable: string }

const FILE_STORE = 'the application has its own store and locks'

/** Each metric in an application that embeds Gatewatch around a gateway of its own; a metric that has no line here does not compile. */
export const EMBEDDED_METRICS: Readonly<Record<MetricKey, EmbeddedMetric>> = {
  info: { by: 'createGatewatch' },
  refreshDuration: { by: 'wrapRefresh; bypasses by createGatewatch' },
  tokenRequestDuration: { by: 'createGatewatch: requests for other grants that no wrapper is around' },
  operationDuration: { by: 'wrapOperation, noteLogin, noteLogout' },
  acquisitions: { by: 'wrapRefresh' },
  acquisitionWait: { by: 'wrapRefresh' },
  bypasses: { by: 'createGatewatch' },
  replays: { by: 'wrapRefresh; bypasses by createGatewatch' },
  tokenAge: { by: 'wrapRefresh with tokens' },
  attemptDuration: { by: 'wrapCall, fetch, beginCall' },
  timeToFirstChunk: { by: 'wrapCall, fetch, beginCall' },
  fallbacks: { by: 'noteFallback' },
  billingChanges: { by: 'noteFallback' },
  profileState: { by: 'observeProfiles, wrapRefresh with tokens, noteCooldown, noteLogin' },
  profileServes: { by: 'observeProfiles' },
  tokenExpiry: { by: 'observeProfiles, wrapRefresh with tokens' },
  generation: { by: 'observeProfiles, wrapRefresh with tokens' },
  probeDivergence: { notApplicable: 'the application probes its profiles itself' },
  probeAge: { notApplicable: 'the application probes its profiles itself' },
  imports: { notApplicable: 'logins are imported into a store of Gatewatch' },
  leaseWait: { notApplicable: FILE_STORE },
  leasesLost: { notApplicable: FILE_STORE },
  storeErrors: { notApplicable: FILE_STORE },
  telemetryDropped: { by: 'createGatewatch' },
  labelOverflows: { by: 'createGatewatch' },
  serverDuration: { by: 'requestContext' },
  genaiDuration: { by: 'wrapCall, fetch, beginCall' },
  genaiTokens: { by: 'wrapCall, fetch, beginCall' },
}
