export type { DroppableLabel } from '../otel/semconv.ts'
export type { CallAnswer } from './calls/answer-stream.ts'
export type { BeginCallOptions, BegunCall, BegunCallEnd } from './calls/begun-call.ts'
export type { FallbackStep, Served } from './calls/call-request.ts'
export type { FallbackReason } from './calls/fallback.ts'
export type { CooldownNote, FallbackNote, LoginNote, LogoutNote } from './calls/notes.ts'
export type { ProbeResult } from './calls/probe.ts'
export type { LastProbe } from './calls/probe-state.ts'
export type { ProbeVerdict } from './calls/probe-verdict.ts'
export type { ProfileSnapshot, RestSnapshot } from './calls/profile-snapshot.ts'
export type { ObservedProfile, ReadProfiles } from './calls/reported-profiles.ts'
export type { FetchRequest, WatchedFetchOptions } from './calls/watched-fetch.ts'
export type { WrapCallOptions } from './calls/wrap-call.ts'
export type {
  ApiKeyCredential,
  Credential,
  NeedsLogin,
  OAuthCredential,
  PendingRefresh,
  StoredProfile,
  TokenCredential,
} from './domain/credential.ts'
export type {
  AttemptOutcome,
  Billing,
  BypassPolicy,
  CredentialType,
  Decision,
  LoginMethod,
  OperationOutcome,
  ProbeOutcome,
  ProcessRole,
  ProfileState,
  Protocol,
  RefreshReason,
  SkipReason,
  TokenRequestOutcome,
  Uncertainty,
  Via,
} from './domain/enums.ts'
export type { Fingerprint } from './domain/fingerprint.ts'
export { GatewayError, type GatewayErrorCode, type GatewayErrorOptions, type NextStep } from './domain/gateway-error.ts'
export type { AnyFunction, AsyncFunction, ReadFromCall, Resolved, ValueOrReader } from './domain/wrapped-function.ts'
export type { AcquireCount, EventCounts, MoveCount, RecordedCount, RefreshCount } from './events/queries/counts.ts'
export type { ListedRefresh, ListFilterValue, RefreshListFilter } from './events/queries/refresh-list.ts'
export { createGatewatch } from './gatewatch/create-gatewatch.ts'
export type { AcquireTokenOptions, CallOptions, Gatewatch, GatewatchOptions, LabelOptions, MetricsOptions } from './gatewatch/gatewatch.ts'
export type { RecordedEvents, RefreshFilter } from './gatewatch/recorded-events.ts'
export type { WrapOperationOptions, WrappedOperation } from './login/wrap-operation.ts'
export type { DeviceDialect } from './providers/provider.ts'
export type { AnswerHeaders } from './providers/upstream.ts'
export type { TokenUsage } from './providers/usage-reader.ts'
export type { AcquireResult, ForcedPolicy } from './refresh/acquire.ts'
export type { RefreshEnd, RefreshedTokens, WrapRefreshOptions } from './refresh/wrap-refresh.ts'
export type {
  FallbackSettings,
  GateSettings,
  LabelSettings,
  ListenSettings,
  ProbeSettings,
  ProfileOptions,
  ProviderOptions,
  SettingsInput,
  UpstreamSettings,
} from './settings/settings-input.ts'
export type { MetricsAnswer } from './telemetry/running-telemetry.ts'
export type { GatePolicy } from './watch/watch-policy.ts'
