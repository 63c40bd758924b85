import { ATTR_ERROR_TYPE, ATTR_REPLAY } from '../../otel/semconv.ts'
import { durationOf } from '../domain/duration-text.ts'
import { type Evidence, type InputSpan, isSameProcess } from './evidence.ts'
import { excluded, judgeShape } from './hypotheses.ts'
import { callerText, capitalized, processOf } from './messages.ts'
import { comparedShapes } from './request-shapes.ts'
import type { FindingDraftOptions } from './rule.ts'

/** Why the answer to a token request was not heard. */
export type Unheard = 'timed_out' | 'connection_lost' | 'process_ended'

/** A rotation that the provider made and nobody heard of: the old token is spent, the new one went to nobody. */
export interface LostRotation {
  readonly why: Unheard
  /** The request whose answer was not heard. */
  readonly unheard: InputSpan
  /** The requests with the same token that were refused afterwards, the first one first; at least one. */
  readonly refused: readonly [InputSpan, ...InputSpan[]]
}

/** The connection never stood: nothing was sent, so nothing can have been taken. */
const NEVER_SENT: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
])

/** Tokens that were refused after a request with the very same token had gone unanswered, for the given reason. */
export function lostRotations(evidence: Evidence, why: Unheard): LostRotation[] {
  const refused = evidence.refreshes.filter(refresh => isRefusedAsUsed(refresh) && !evidence.rotationOf(refresh))
  return [...Map.groupBy(refused, ({ sent }) => sent).values()].flatMap(([first, ...others]) => {
    const unheard = first && evidence.sendersOf(first.sent).find(sender => sender.startMs < first.startMs && whyUnheard(sender))
    return unheard && whyUnheard(unheard) === why ? [{ why, unheard, refused: [first, ...others] }] : []
  })
}

/** The provider refused the token for good, as one that is spent. */
export function isRefusedAsUsed({ isError, status, outcome, sent }: InputSpan): boolean {
  return isError && sent !== undefined && status !== undefined && (outcome === 'lost' || outcome === 'invalidated')
}

/** What all findings about a lost rotation say. */
export function reportLostRotation(evidence: Evidence, { unheard, refused }: LostRotation, how: string): FindingDraftOptions {
  const [first] = refused
  const isSaid = first.flag(ATTR_REPLAY) === true || first.outcome === 'lost' || first.providerCode === 'refresh_token_reused'
  const who = isSameProcess(unheard, first) ? 'it' : processOf(first)
  return {
    about: [unheard, ...refused],
    callers: [unheard],
    what: `${capitalized(processOf(unheard))}, for ${callerText(unheard)}, sent the refresh token ${unheard.sent} and ${how}. ${durationOf(first.startMs - unheard.endMs)} later ${who} sent the same token, and ${first.providerCode ?? first.outcome} was the answer: the provider had rotated it, and the new token reached nobody.`,
    confidence: isSaid ? 'certain' : 'likely',
    ...(!isSaid && {
      surerBy: 'the code of the provider that says that the token was used before; this one only says that it is not valid any more',
    }),
    summarizeRequest: first,
    hypotheses: [
      excluded('token_rejected', 'the endpoint took this very token once, in the request whose answer was not heard'),
      excluded('another_caller', 'the request that used the token up is known: no other caller was seen to send it'),
      ...judgeShape(comparedShapes(evidence, first)),
    ],
  }
}

function whyUnheard(refresh: InputSpan): Unheard | undefined {
  const { isError, outcome, status } = refresh
  if (!isError) return undefined
  if (outcome === 'timeout') return 'timed_out'
  if (outcome === 'lost' && status === undefined) return 'process_ended'
  if (outcome !== 'unavailable' || NEVER_SENT.has(refresh.text(ATTR_ERROR_TYPE) ?? '')) return undefined
  // An answer that cannot be read, and one of a proxy whose server may have done its work, are as good as none.
  return status === undefined || status < 300 || status >= 500 ? 'connection_lost' : undefined
}
