import type { OAuthEndpoints } from '../providers/provider.ts'
import type { AnswerHeaders, CollectedBody, Upstream } from '../providers/upstream.ts'
import { ANSWER_READ } from './judge.ts'

/** No time limit of the transport itself: how long a token request may take is its caller's to say, by signal. */
export const TRANSPORT = { connections: 1, headersTimeoutMs: 0, bodyIdleMs: 0, connectTimeoutMs: 10_000 } as const

/** One request to an OAuth endpoint, ready to be sent. */
interface OAuthPost {
  readonly url: string
  readonly body: URLSearchParams
  readonly headers: Record<string, string>
  readonly encoding: OAuthEndpoints['encoding']
  readonly signal: AbortSignal
  /** See `UpstreamRequest.mayLeave`. */
  readonly mayLeave?: (() => boolean) | undefined
}

/** An answer, read whole or cut. */
export interface PostedAnswer extends CollectedBody {
  readonly status: number
  readonly headers: AnswerHeaders
}

/** Posts to an OAuth endpoint. @throws {UpstreamError} when no complete answer came. */
export function post(upstream: Upstream, { url, body, headers, encoding, signal, mayLeave }: OAuthPost): Promise<PostedAnswer> {
  const { origin, pathname, search } = new URL(url)
  const isJson = encoding === 'json'
  return new Promise((resolve, reject) => {
    let status = 0
    let answerHeaders: AnswerHeaders = {}
    upstream.send(
      {
        origin,
        path: pathname + search,
        method: 'POST',
        headers: { ...headers, 'content-type': isJson ? 'application/json' : 'application/x-www-form-urlencoded' },
        body: Buffer.from(isJson ? JSON.stringify(Object.fromEntries(body)) : body.toString()),
        signal,
        collectBytes: ANSWER_READ,
        ...(mayLeave && { mayLeave }),
      },
      {
        onHead(finalStatus, finalHeaders) {
          status = finalStatus
          answerHeaders = finalHeaders
          return 'collect'
        },
        onChunk: () => true,
        onEnd: collected =>
          resolve({ status, headers: answerHeaders, bytes: collected?.bytes ?? Buffer.alloc(0), cut: collected?.cut ?? false }),
        onError: reject,
      },
    )
  })
}
