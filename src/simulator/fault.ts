import * as v from 'valibot'
import { GatewayError } from '../domain/gateway-error.ts'
import { FAULT_NAMES, type FaultAnswer, type FaultName, namedFault, renderTimes } from './named-faults.ts'

const EXPIRES_IN_FAULTS = ['missing', 'zero', 'string', 'milliseconds'] as const
type ExpiresInFault = (typeof EXPIRES_IN_FAULTS)[number]

/** Fields of a token answer that can be left out. */
const TOKEN_ANSWER_FIELDS = ['access_token', 'refresh_token', 'id_token'] as const
type TokenAnswerField = (typeof TOKEN_ANSWER_FIELDS)[number]

/** What goes wrong. Several effects of one fault play together: a slow 503 is `{ status: 503, latencyMs: 2000 }`. */
export interface FaultEffect {
  /** An answer from `NAMED_FAULTS`, given instead of the true one; nothing is committed. */
  name?: FaultName
  /** Status of an answer given instead of the true one; with `name` it replaces that one's status. 200 to 599. */
  status?: number
  /** Added to the answer's headers, whichever answer it is. */
  headers?: Record<string, string>
  /** Body that goes with `name` or `status`. JSON, or text as it is. */
  body?: unknown
  /** Wait before the answer, in ms. A token request is committed before the wait: a client that gives up has lost a rotation. */
  latencyMs?: number
  /** The connection is reset before anything is done. */
  resetBeforeCommit?: boolean
  /** The tokens are rotated (the model call is done), then the connection is reset without an answer. */
  resetAfterCommit?: boolean
  /** Nothing is done and nothing is answered until the client leaves or the simulator stops. */
  hang?: boolean
  /** The tokens are rotated, then nothing is answered. */
  hangAfterCommit?: boolean
  /** Pause before each server-sent event, in ms. */
  slowChunksMs?: number
  /** The connection is reset after so many server-sent events. */
  cutStreamAfterChunks?: number
  /** `expires_in` of a token answer is missing, 0, a string, or counted in milliseconds. */
  expiresIn?: ExpiresInFault
  /** The `Date` header is so many ms ahead (or behind, when negative). */
  dateSkewMs?: number
  /** The token answer carries the access and id token of this account. */
  switchAccountTo?: string
  /** Fields that are missing from a token answer. Without `refresh_token` the old one stays good, as at Google. */
  omit?: TokenAnswerField[]
  /** The body breaks off in the middle. */
  invalidJson?: boolean
  /** The body is blown up to at least so many bytes; JSON stays JSON. */
  hugeBodyBytes?: number
}

/**
 * A fault as data: where, how often, for whom, and what. Plain JSON, so a list of them can be a file.
 *
 * Of several faults that fit a request the one injected first is played, alone: faults with `times: 1`
 * form a sequence.
 */
export interface Fault extends FaultEffect {
  /** `token` (every token endpoint), `provider` (every provider endpoint), `all`, or a path; `*` stands for any run of characters. */
  where: 'token' | 'provider' | 'all' | `/${string}`
  /** How often it is played. At least 1. @default until removed */
  times?: number
  /** So many fitting requests pass before it begins. @default 0 */
  skip?: number
  /** Only requests that carry a token of this account. */
  account?: string
  /** Only requests whose User-Agent does not fit this pattern (`claude-cli/*`): a firewall. */
  unlessUserAgent?: string
}

const count = (least: number) => v.pipe(v.number(), v.integer(), v.minValue(least))
const PATTERN = v.custom<`/${string}`>(
  value => typeof value === 'string' && value.startsWith('/'),
  "expected 'token', 'provider', 'all' or a path that begins with '/'",
)

const FAULT = v.strictObject({
  where: v.union([v.picklist(['token', 'provider', 'all']), PATTERN]),
  times: v.exactOptional(count(1)),
  skip: v.exactOptional(count(0)),
  account: v.exactOptional(v.string()),
  unlessUserAgent: v.exactOptional(v.string()),
  name: v.exactOptional(v.picklist(FAULT_NAMES)),
  status: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(200), v.maxValue(599))),
  headers: v.exactOptional(v.record(v.string(), v.string())),
  body: v.exactOptional(v.unknown()),
  latencyMs: v.exactOptional(count(0)),
  resetBeforeCommit: v.exactOptional(v.boolean()),
  resetAfterCommit: v.exactOptional(v.boolean()),
  hang: v.exactOptional(v.boolean()),
  hangAfterCommit: v.exactOptional(v.boolean()),
  slowChunksMs: v.exactOptional(count(0)),
  cutStreamAfterChunks: v.exactOptional(count(0)),
  expiresIn: v.exactOptional(v.picklist(EXPIRES_IN_FAULTS)),
  dateSkewMs: v.exactOptional(v.pipe(v.number(), v.integer())),
  switchAccountTo: v.exactOptional(v.string()),
  omit: v.exactOptional(v.array(v.picklist(TOKEN_ANSWER_FIELDS))),
  invalidJson: v.exactOptional(v.boolean()),
  hugeBodyBytes: v.exactOptional(count(1)),
}) satisfies v.GenericSchema<unknown, Fault>

/**
 * Checks that a value, perhaps from a file, is a fault.
 *
 * @throws {GatewayError} `GW_CONFIG` that names the key and what is allowed there.
 */
export function readFault(value: unknown): Fault {
  const result = v.safeParse(FAULT, value)
  if (!result.success) {
    const [issue] = result.issues
    const key = v.getDotPath(issue) ?? 'the fault itself'
    throw new GatewayError('GW_CONFIG', `fault not understood at ${key}: ${issue.message}`, { next: 'fix_configuration' })
  }
  if (result.output.body !== undefined && !result.output.name && result.output.status === undefined) {
    throw new GatewayError('GW_CONFIG', 'a fault with a body needs a status or a name', { next: 'fix_configuration' })
  }
  return result.output
}

/** The answer a fault gives instead of the true one, or `undefined` when it lets the true one through. */
export function faultAnswer(effect: FaultEffect, now: number): (FaultAnswer & { readonly code: string }) | undefined {
  const named = effect.name && namedFault(effect.name)
  const status = effect.status ?? named?.status
  if (status === undefined) return undefined
  const body = effect.body ?? named?.body ?? { error: { message: 'simulated fault', type: 'simulated', param: null, code: null } }
  return { status, headers: named?.headers ?? {}, body: renderTimes(body, now), code: effect.name ?? `status_${status}` }
}
