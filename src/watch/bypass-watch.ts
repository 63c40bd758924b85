import { diag } from '@opentelemetry/api'
import { siteOf } from '../callers/caller.ts'
import { type Fingerprint, fingerprint } from '../domain/fingerprint.ts'
import { sayRefusal } from '../http-clients/client-adapter.ts'
import { watchOutgoing } from '../http-clients/outgoing.ts'
import { carriedPermit, normalizeUrl } from '../providers/permit.ts'
import { judgeRefresh } from '../providers/refresh-judgement.ts'
import type { Registry } from '../providers/registry.ts'
import { secretText } from '../providers/token-fields.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { judgeTokenAnswer } from '../token-requests/judge.ts'
import { summarizeRequest } from '../token-requests/request-summary.ts'
import { BypassRecord, type SeenToken } from './bypass-record.ts'
import type { GatePolicy } from './watch-policy.ts'

export interface BypassWatchOptions {
  telemetry: Telemetry
  registry: Registry
  /** What is done about a bypass. @default 'observe' */
  policy?: GatePolicy
  /** Finds the profile a refresh token belongs or belonged to. */
  lineageOf: (refresh: Fingerprint) => SeenToken | undefined
  /** Notified of a fault of the watch itself; the application never is. */
  onFault: (fault: unknown) => void
}

/** A refusal may come with status 200, so the body of a good answer is read too; it is short. */
const WHOLE_ANSWER = { keepsGood: true } as const

/** A watch, not yet under way. */
export interface BypassWatch {
  /** Watches one more token URL, of a provider that the registry need not know. */
  add(tokenUrl: string, providerId: string): void
  /** Whether the token requests of this process are seen now. */
  readonly isRunning: boolean
  /** Does nothing a second time. */
  start(): void
  stop(): void
}

/**
 * Sees every token request of this process and says which of them did not come through the gate.
 *
 * A request that shows a permit is the gate's own. Any other refresh is a bypass: a span with the caller's stack, the shape of
 * what was sent and how it ended, and a count by caller. Under the policy `observe` nothing is held back; under `enforce`
 * a bypass is never sent, and the application gets an error with the code `GATEWATCH_BYPASS` from its client. Requests for other
 * grants, such as a code exchange, are spans and no bypasses: the gate is one for refreshes.
 */
export function watchBypasses({ telemetry, registry, policy = 'observe', lineageOf, onFault }: BypassWatchOptions): BypassWatch {
  const tokenUrls = new Map<string, string>()
  const paths = new Set<string>()
  const add = (tokenUrl: string, providerId: string) => {
    const url = normalizeUrl(tokenUrl)
    if (!tokenUrls.has(url)) tokenUrls.set(url, providerId)
    paths.add(new URL(url).pathname)
  }
  for (const [url, providerId] of registry.tokenUrls()) add(url, providerId)

  const start = () =>
    watchOutgoing({
      wanted: (method, target) => method === 'POST' && paths.has(pathOf(target)),
      listener: function seen(request) {
        const providerId = tokenUrls.get(normalizeUrl(request.url))
        if (providerId === undefined) return
        const judge = registry.all().find(({ id }) => id === providerId)?.judgeRefresh ?? judgeRefresh
        const permit = carriedPermit()
        if (permit?.show(request.url, request.identity)) {
          if (permit.wantsBody) request.onBody(body => permit.sends(sentRefresh(body, request.url)))
          request.onEnd(end => {
            const { fields, ...judgement } = judgeTokenAnswer(end, { judgeRefresh: judge, sent: permit.sent })
            permit.answered = end.status
            permit.judgement = judgement
            permit.received = fingerprint(secretText(fields?.refresh_token))
          }, WHOLE_ANSWER)
          return
        }
        const url = new URL(request.url)
        const caller = siteOf(request.frames(seen))
        const record = new BypassRecord(telemetry, { providerId, url, caller, policy, judge, lineageOf })
        const onBody = (body: string | undefined) => {
          record.body(body)
          const error = record.refusal()
          if (!error || !request.block(error)) return
          record.refused()
          sayRefusal(error)
        }
        const isEnough = (heard: string) => summarizeRequest(heard, url.search).grant === 'refresh'
        request.onBody(onBody, policy === 'enforce' ? isEnough : undefined)
        request.onEnd(end => record.ended(end), WHOLE_ANSWER)
      },
      onFault,
      onNotice: line => diag.warn(`gatewatch: ${line}`),
    })
  let stop: (() => void) | undefined
  return {
    add,
    get isRunning() {
      return stop !== undefined
    },
    start: () => {
      stop ??= start()
    },
    stop: () => {
      stop?.()
      stop = undefined
    },
  }
}

function sentRefresh(body: string | undefined, url: string): Fingerprint | undefined {
  return summarizeRequest(body, new URL(url).search).refreshFingerprint
}

/** The path of a request's target, which is a whole URL where a proxy is asked (RFC 9112 section 3.2.2). */
function pathOf(target: string): string {
  if (!target.startsWith('/')) return URL.canParse(target) ? new URL(target).pathname : ''
  const query = target.indexOf('?')
  return query < 0 ? target : target.slice(0, query)
}
