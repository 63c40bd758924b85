import type { DroppableLabel } from '../../otel/semconv.ts'
import type { Billing, Protocol } from '../domain/enums.ts'
import type { DeviceDialect } from '../providers/provider.ts'
import type { ForcedPolicy } from '../refresh/acquire.ts'
import type { GatePolicy } from '../watch/watch-policy.ts'

/** A provider, built in or not. */
export interface ProviderOptions {
  /** Base URL of the provider's API. Needed for a provider Gatewatch does not know. */
  baseUrl?: string
  /** Token endpoint of its OAuth server. */
  tokenUrl?: string
  clientId?: string
  /** Environment variable that holds the client secret, for clients that have one. */
  clientSecretEnv?: string
  encoding?: 'form' | 'json'
  /** Where a browser signs in, for `gatewatch profiles login`. */
  authorizationUrl?: string
  /** Where a code for another device comes from. */
  deviceUrl?: string
  /** How such codes are given out. @default what is built in, else 'rfc8628' */
  deviceDialect?: DeviceDialect
  /** Where a login is given back, for `gatewatch profiles logout`. */
  revocationUrl?: string
  /** Who signs the id tokens: they are checked when it is set. */
  issuer?: string
  /** Where the browser comes back. Without a port: any free one. @default what is built in, else 'http://127.0.0.1/callback' */
  redirectUrl?: string
  scopes?: string[]
  /** What the provider wants in addition to in the URL that the browser opens. */
  authorizationParameters?: Record<string, string>
  /** Path below `baseUrl` for each wire language. */
  paths?: { [Wire in Exclude<Protocol, 'models'>]?: string }
  /** Path below `baseUrl` that lists the models. */
  modelsPath?: string
}

/** A profile that the configuration names. */
export interface ProfileOptions {
  /** Id of a provider: a built-in one, or one named under `providers`. */
  provider: string
  /** How the profile pays. @default by credential: an API key is metered, an OAuth login is a subscription */
  billing?: Billing
  /** Environment variable that holds the API key; without it the credential is looked up in the state folder. */
  apiKeyEnv?: string
  /** What telemetry calls the profile, behind its provider. @default the id's own word if it is a plain one, else a digest */
  name?: string
}

/** Where a gateway listens, and its limits. */
export interface ListenSettings {
  /** Address to bind. Anything but loopback needs `keysEnv`. @default '127.0.0.1' */
  host?: string | undefined
  /** 0 picks a free port. @default 8089 */
  port?: number | undefined
  /**
   * Environment variable that holds the keys clients and operators must show, separated by commas, each of at least 16
   * characters. Once there are keys nothing but health and the sign-in form answers without one, loopback included; the URL
   * of the token endpoint gate is then `/oauth/<provider>/token/<key>`. Needed behind a reverse proxy. @default no keys
   */
  keysEnv?: string
  /** Largest request body, in bytes. @default 33_554_432 */
  maxBodyBytes?: number | undefined
  /**
   * Most bytes of request bodies that are held at one time, in all; a request beyond it is answered 503 with `Retry-After`.
   * At least `maxBodyBytes`. @default 268_435_456, or `maxBodyBytes` where that is more
   */
  maxBufferedBytes?: number
  /** Longest time a client may take to send its request, in ms. @default 60_000 */
  requestTimeoutMs?: number | undefined
  /** Longest time a client may leave a full send buffer unread, in ms. @default 120_000 */
  slowClientMs?: number | undefined
  /** Longest time that requests under way get to end when the gateway stops, in ms; then they are cut. @default 25_000 */
  stopGraceMs?: number | undefined
}

/** The refresh gate. */
export interface GateSettings {
  /** How long before expiry a token counts as expiring, in ms. @default 120_000 */
  earlyMs?: number
  /** What a forced acquisition gets when the token is still usable and was not rejected. @default 'reuse' */
  forced?: ForcedPolicy
  /** Longest wait of a refresh for another process that refreshes the profile, in ms. @default 90_000 */
  leaseWaitMs?: number
  /** How long callers wait for the token endpoint's answer, in ms; the refresh listens on. @default 20_000 */
  requestTimeoutMs?: number
  /** How long a refresh listens for the token endpoint's answer, in ms: hanging up would lose a rotation. @default 300_000 */
  listenMs?: number
  /**
   * For how long a refresh token that was rotated away still gets the current tokens at the token endpoint gate, in ms: for
   * clients that share a login and are behind. 0: not at all. @default 600_000
   */
  rotationGraceMs?: number
  /** What is done about a token request that does not come through the gate. @default 'observe' */
  bypass?: GatePolicy
}

/** Limits of provider calls. */
export interface UpstreamSettings {
  /** Longest wait for the head of an answer, in ms. @default 300_000 */
  headersTimeoutMs?: number
  /** Longest pause within the body of an answer, in ms. @default 300_000 */
  bodyIdleMs?: number
  connectTimeoutMs?: number
}

/** Probes of profiles. */
export interface ProbeSettings {
  /** How often every profile is probed, in ms, give or take a tenth. @default never */
  everyMs?: number
}

/** Whether a call meant for a subscription may go on to a profile that is paid by use. */
export interface FallbackSettings {
  /** @default 'allow' */
  metered?: 'allow' | 'deny' | undefined
}

/** Labels of metrics, where there are many users. Spans, events and the ops page keep everything. */
export interface LabelSettings {
  /** What metrics do not have: `profile` stands for `from` and `to` of fallbacks too. @default [] */
  drop?: DroppableLabel[]
  /**
   * Metrics have groups of profiles instead of profiles: a regular expression whose first group in parentheses is the group, in
   * the id of the profile. `^([^/]+)/` makes `acme` of `acme/anna`; ids that do not match are `_other`. @default no groups
   */
  profileGroup?: string
}

/** Settings as they are written in a configuration file: everything has a default. */
export interface SettingsInput {
  listen?: ListenSettings | undefined
  /** Folder of the profile store, relative to the configuration file. */
  state?: string | undefined
  /** By their ids. */
  providers?: { [id: string]: ProviderOptions } | undefined
  /** By their ids, `<provider>:<name>`. */
  profiles?: { [id: string]: ProfileOptions } | undefined
  /** Profile ids in the order in which they are tried; profiles not named are not used. */
  order?: string[]
  gate?: GateSettings | undefined
  fallback?: FallbackSettings | undefined
  upstream?: UpstreamSettings | undefined
  probe?: ProbeSettings | undefined
  labels?: LabelSettings | undefined
}
