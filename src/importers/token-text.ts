import { secretText } from '../providers/secret-text.ts'

/** What stands where a token belongs. */
export type TokenText =
  | { readonly kind: 'token'; readonly text: string }
  | { readonly kind: 'absent' }
  /** Something that is no token; `why` completes "its access token ...". */
  | { readonly kind: 'refused'; readonly why: string }

const ABSENT: TokenText = { kind: 'absent' }

/** What OpenClaw puts in a token's place while it refreshes, and leaves there when that failed. */
const FENCE = 'openclaw-oauth-refresh-fence:'
const PLACEHOLDER = /^\$\{?\w+\}?$|^\{\{.*\}\}$/
const REDACTED = /^[*•x.]+$|redacted/i
/** What a header can carry. */
const SENDABLE = /^[\x21-\x7e]+$/

/**
 * Distinguishes a token from what programs leave in its place: nothing, the words `undefined` and `null`, a placeholder, a mark.
 * A token is shown nowhere from here on.
 */
export function tokenText(value: string | undefined): TokenText {
  if (value === undefined) return ABSENT
  const text = secretText(value)
  if (text === undefined) {
    const said = value.trim()
    return refused(said === '' ? 'is an empty string' : `is the word ${JSON.stringify(said)}, which some program wrote in its place`)
  }
  if (text.startsWith(FENCE))
    return refused('is a mark of OpenClaw for a refresh that is under way or has failed: sign in there, or wait, and import again')
  if (PLACEHOLDER.test(text)) return refused('is a placeholder for a variable')
  if (REDACTED.test(text)) return refused('was made unreadable, as for a report')
  if (!SENDABLE.test(text)) return refused('holds spaces or characters that no header can carry')
  return { kind: 'token', text }
}

function refused(why: string): TokenText {
  return { kind: 'refused', why }
}
