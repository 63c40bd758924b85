import { durationOf } from '../../domain/duration-text.ts'
import { lostRotations, reportLostRotation } from '../lost-answers.ts'
import { findingDraft, type Rule } from '../rule.ts'

/** The client stopped waiting, the provider rotated all the same. */
export const timedOutAfterRotation: Rule = {
  kind: 'timed_out_after_rotation',
  severity: 'grant_dead',
  title: 'A refresh was given up too early: the provider had rotated the token',
  symptom: 'A refresh times out; from then on every refresh of the login ends in 401 refresh_token_reused.',
  detectedBy:
    'a refresh that timed out, and the same refresh token refused as used afterwards, without a rotation in between that anybody saw',
  remedy: [
    'Sign in again: the new token was lost, the old one is spent.',
    'Wait longer for the token endpoint than it takes on its worst day: gate.listenMs, or the time limit of the caller named here; minutes are usual.',
    'A caller that is in a hurry may stop waiting, the request must go on: the gate of Gatewatch does that (gate.requestTimeoutMs).',
    'Never send the same refresh token again after a time-out without being ready for this.',
  ],
  explains: ['refresh_refused', 'refresh_failing', 'fresh_login_rejected'],
  detect: evidence =>
    lostRotations(evidence, 'timed_out').map(lost =>
      findingDraft(
        timedOutAfterRotation,
        evidence,
        reportLostRotation(evidence, lost, `stopped waiting for the answer after ${durationOf(lost.unheard.durationMs)}`),
      ),
    ),
}
