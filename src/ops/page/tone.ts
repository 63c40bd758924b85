import { element } from './element.ts'
import { plain } from './format.ts'

/** Red means failure and nothing else; the same word has the same colour everywhere. */
export type Tone = 'good' | 'bad' | 'warn' | 'rest' | 'plain'

const TONES: Readonly<Record<string, Tone>> = {
  rotated: 'good',
  renewed: 'good',
  ok: 'good',
  ready: 'good',
  gate: 'good',
  reused: 'plain',
  bypass: 'warn',
  expiring: 'warn',
  expired: 'warn',
  resting: 'rest',
  cooldown: 'rest',
  not_persisted: 'warn',
  aborted: 'plain',
  contention: 'warn',
  blocked: 'warn',
  throttled: 'warn',
  rate_limit: 'warn',
  overloaded: 'warn',
}
const BAD = new Set(
  'invalidated grant_expired interaction_required refused malformed forbidden unavailable timeout lost identity_mismatch auth auth_permanent billing server_error format model_not_found needs_login missing_credential damaged failed refuse'.split(
    ' ',
  ),
)

export function toneOf(word: string): Tone {
  return BAD.has(word) ? 'bad' : (TONES[word] ?? 'plain')
}

/** A word of a closed list, in its colour. */
export function badge(word: string, tone: Tone = toneOf(word)): HTMLElement {
  return word === '' ? element('span', { class: 'quiet' }, '–') : element('span', { class: `badge ${tone}` }, plain(word))
}
