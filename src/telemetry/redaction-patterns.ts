import { withoutSecrets } from '../tools/secret-registry.ts'
import { isHighEntropy, looksRandom } from './redaction-entropy.ts'

/** Spellings of the sign in an e-mail address that are met in logs, JSON and HTML. */
const AT = String.raw`(?:@|＠|﹫|&#(?:64|x40);|\\u0040|\s?[([{]at[)\]}]\s?)`

/** Names of fields whose value is secret wherever they stand. */
const SECRET_FIELD =
  '(?:(?:refresh|access|id|session|auth|bearer|device|user|subject|actor)[_-]?(?:token|code)|token|(?:x-)?api[_-]?key|(?:client[_-]?)?secret|code[_-]?verifier|code|passw(?:or)?d|assertion|client_assertion|credential|signature)'

/**
 * Words that say something about a value and are none: the shape of a request speaks of fields this way. The word must be
 * the whole value, or a token could begin with it.
 */
const HARMLESS = String.raw`(?!(?:\[[a-z-]{3,14}\]|(?:undefined|null|none|empty|missing|absent|present|true|false|string|number|boolean|object|file|jwt|uuid|refresh_token|authorization_code|opaque(?::\d{1,9})?|literal:(?:undefined|null|object)))(?=[\s&"'\\,;)}\]]|$))`

/**
 * Patterns of secrets, most specific first. They guard free text (paths, stacks, names that clients choose); values
 * that are secret by their place (headers, bodies, tokens) never get this far. Every repetition is bounded or starts at
 * a fixed character: the texts come from outside, and a pattern that backtracks would be a way to stop the process.
 */
const SECRETS: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]{0,30}KEY-----[\s\S]*?(?:-----END [A-Z ]{0,30}KEY-----|$)/g, '[key]'],
  [/\b((?:proxy-)?authorization|x-api-key|x-goog-api-key|(?:set-)?cookie)(["']?\s{0,4}[:=]\s{0,4})[^\r\n]+/gi, '$1$2[secret]'],
  [/\b(?:Bearer|Basic)[\s:=]+[^\s"'\\,;<>]{8,}/gi, '[authorization]'],
  // Without its dots too: what was cut off elsewhere is still a token's head.
  [/eyJ[\w-]{8,}(?:\.[\w-]*){0,4}/g, '[jwt]'],
  [
    /(?<![\w-])(?:sk[-_]|github_pat_|gh[oprsu]_|xox[abeprs]-|GOCSPX-|AKIA|AIza|(?:rt|at|pk|rk|ac|oat|ort)_|ya29\.|1\/\/0|4\/0)[\w.-]{8,}/g,
    '[token]',
  ],
  // These make words too (`at-least-once`, `hf-mirror`): only with a digit behind them.
  [/(?<![\w-])(?:rt|at|pk|rk|gsk|hf|nvapi|xai|glpat)[-_.](?=[A-Za-z_.-]{0,64}\d)[\w.-]{8,}/g, '[token]'],
  [/\/\/[^/\s"'<>]{1,256}@/g, '//[credentials]@'],
  // The token endpoint gate takes its key as the last segment of its path; a source file there is none.
  [/(\/oauth\/[\w.-]{1,64}\/token\/)(?![\w.-]{1,128}\.[cm]?[jt]sx?\b)[^/\s"'?#<>]+(?![^\s"'?#<>])/gi, '$1[secret]'],
  [
    new RegExp(
      String.raw`([?&#;][\w.-]{0,32}(?:token|key|secret|code|verifier|password|state|sig|auth|session|nonce|assertion)[\w-]{0,32}=)${HARMLESS}[^&\s#]+`,
      'gi',
    ),
    '$1[secret]',
  ],
  [new RegExp(String.raw`(?<![\w-])(${SECRET_FIELD}\s{0,2}=\s{0,2}["']?)${HARMLESS}[^\s&"',;)}\]]{4,}`, 'gi'), '$1[secret]'],
  [new RegExp(String.raw`(\\?["']${SECRET_FIELD}\\?["']\s{0,4}:\s{0,4}\\?["'])${HARMLESS}[^"'\\]{4,}`, 'gi'), '$1[secret]'],
]

/**
 * Stands for a secret of this process until the patterns have run: made of the characters of a token, so that a pattern still
 * finds a longer token of which the known text is a part, and hides all of it.
 */
const KNOWN = 'GatewatchSecret0'
/** What touches a known text belongs to the same token. Each run is looked at once: a pattern with the known text in it would try from every character. */
const WORD_RUN = /[A-Za-z0-9]+/g

const AT_SIGN = new RegExp(AT, 'i')
/** `express@5.3.0` is a package in a path, not an address: what follows must end in letters and not begin as a version does. */
const E_MAIL = new RegExp(
  String.raw`(?:"[^"\s]{1,64}"|[\p{L}\p{N}.!#$%&'*+/=?^_{|}~-]{1,64})${AT}(?!\d+\.\d)[\p{L}\p{N}-]{1,63}(?:\.[\p{L}\p{N}-]{1,63}){0,8}\.\p{L}{2,24}`,
  'giu',
)

/**
 * What is no text: escape sequences, which a terminal obeys, and marks that turn the direction of what follows. Lines and tabs
 * stay, since stacks have them.
 */
const CONTROLS = /(?![\n\t])[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu
const ENCODED = /%[0-9a-f]{2}/i
/** Base64 holds slashes, so runs with slashes are looked at first; then each name of a path by itself. */
const RUN = /[\w+/=~-]{32,}/g
const NAME = /[\w+=~-]{20,}/g

/** Replaces everything in `text` that looks like a secret or an e-mail address by what it is. */
export function redactText(text: string): string {
  const clean = redactPlain(text)
  if (!ENCODED.test(text)) return clean
  const decoded = decode(text)
  const cleanDecoded = redactPlain(decoded)
  // Only a text that hides something is shown decoded; a harmless one keeps its spelling.
  return cleanDecoded === decoded ? clean : cleanDecoded
}

/** As `redactText`, for a text of one line: a name, a label. */
export function redactLine(text: string): string {
  return redactText(text).replace(/[\n\t]/g, '\ufffd')
}

function redactPlain(text: string): string {
  let clean = withoutSecrets(text, KNOWN).replace(CONTROLS, '\ufffd')
  for (const [pattern, name] of SECRETS) clean = clean.replace(pattern, name)
  if (clean.includes(KNOWN)) clean = clean.replace(WORD_RUN, run => (run.includes(KNOWN) ? '[secret]' : run))
  if (AT_SIGN.test(clean)) clean = clean.replace(E_MAIL, '[e-mail]')
  if (clean.length < 20) return clean
  return clean.replace(RUN, run => (looksRandom(run) ? '[opaque]' : run)).replace(NAME, name => (isHighEntropy(name) ? '[opaque]' : name))
}

/** Undoes percent-encoding, up to three layers of it. Byte sequences that are no UTF-8 stay as they are. */
function decode(text: string): string {
  let decoded = text
  for (let layer = 0; layer < 3 && ENCODED.test(decoded); layer += 1) {
    decoded = decoded.replace(/(?:%[0-9a-f]{2})+/gi, bytes => {
      try {
        return decodeURIComponent(bytes)
      } catch {
        return bytes
      }
    })
  }
  return decoded
}
