import { ATTR_REQUEST_FIELDS } from '../../../otel/semconv.ts'
import { byProfile, type InputSpan } from '../evidence.ts'
import { excluded, supported } from '../hypotheses.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

/** What a careless program makes of a token it does not have. */
const MADE_OF_NOTHING = /(?:^| )refresh_token=(literal:\w+|null|object)(?: |$)/

/** A credential without a refresh token is posted as the word `undefined`: the endpoint answers as to an expired token. */
export const undefinedTokenSent: Rule = {
  kind: 'undefined_token_sent',
  severity: 'grant_dead',
  title: 'The word "undefined" is posted in place of the refresh token',
  symptom: 'Every refresh ends in 401 token_expired although the login is healthy and other programs refresh it without trouble.',
  detectedBy: 'the class of the field refresh_token in the request: a literal, where the last request that worked held a token',
  remedy: [
    'Do not sign in again yet: the login itself is not dead.',
    'Look at where the caller named here reads its credential: the store it reads holds no refresh token, or it was not decrypted.',
    'Let the caller fail when there is no refresh token, instead of posting what it has.',
  ],
  explains: ['refresh_refused', 'refresh_failing', 'gate_bypassed'],
  detect: evidence => {
    const tokenless = evidence.refreshes.filter(refresh => MADE_OF_NOTHING.test(refresh.text(ATTR_REQUEST_FIELDS) ?? ''))
    const groups = [...byProfile(tokenless).values(), tokenless.filter(({ profile }) => profile === undefined)]
    return groups.filter(group => group.length > 0).map(group => report(group))

    function report(about: readonly InputSpan[]): FindingDraft {
      const [first] = about
      const literal = MADE_OF_NOTHING.exec(first?.text(ATTR_REQUEST_FIELDS) ?? '')?.[1]
      return findingDraft(undefinedTokenSent, evidence, {
        about,
        what:
          `${times(about.length, 'token request')} carried refresh_token=${literal}; the endpoint answered ${first?.status ?? 'nothing'} ${first?.providerCode ?? ''}`.trimEnd() +
          '.',
        confidence: 'certain',
        ...(first && { summarizeRequest: first }),
        hypotheses: [
          excluded('token_rejected', 'no token of this login was sent at all, so none can have been rejected'),
          excluded('another_caller', 'a request without a token is refused no matter which caller refreshes'),
          supported('request_shape', `the field refresh_token holds ${literal} where a token belongs`),
        ],
      })
    }
  },
}
