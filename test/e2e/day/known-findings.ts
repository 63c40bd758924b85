import type { FindingKind } from '../../../src/diagnose/finding.ts'
import type { ProfileWord } from './provider.ts'

/** A finding of `gatewatch diagnose`, or a sentence of one, that is not true, and what is. */
export interface KnownFinding {
  readonly kind: FindingKind
  readonly profiles: readonly ProfileWord[]
  /** The words that are untrue; where they are gone, the rest of the finding is held to be true. */
  readonly says: RegExp
  /** Phase from which on it is found. */
  readonly from: string
  readonly why: string
}

/**
 * Findings that are untrue today. The test of the day fails when one of them is found no more, and when another one is
 * found.
 */
export const KNOWN_UNTRUE: readonly KnownFinding[] = [
  {
    kind: 'silent_paid_fallback',
    profiles: ['work', 'paid'],
    says: /before that 2 requests with the login failed: 400 invalid_grant/,
    from: 'the login dies altogether, and the paid key serves',
    why: 'One was a 503 of the token endpoint hours before, after which the login served again; only the other one is why the key served.',
  },
]
