import { ATTR_REQUEST_FIELDS } from '../../../otel/semconv.ts'
import { excluded, supported } from '../hypotheses.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

const EMPTY = /(?:^| )refresh_token=empty(?: |$)/

/** The field is there and holds nothing. */
export const emptyTokenSent: Rule = {
  kind: 'empty_token_sent',
  severity: 'grant_dead',
  title: 'An empty text is posted in place of the refresh token',
  symptom: 'Refreshes end in 400, not 401: the endpoint says that refresh_token is an empty string.',
  detectedBy: 'the class of the field refresh_token in the request: empty',
  remedy: [
    'Do not sign in again yet: no token was sent, so none was rejected.',
    'Look at what wrote the credential that the caller named here reads: it stored a login without its refresh token, as after a login without the scope offline_access.',
    'If the store holds an empty text, sign in again with that scope.',
  ],
  explains: ['refresh_refused', 'refresh_failing', 'gate_bypassed'],
  detect: evidence => {
    const empty = evidence.refreshes.filter(refresh => EMPTY.test(refresh.text(ATTR_REQUEST_FIELDS) ?? ''))
    return [...Map.groupBy(empty, ({ profile, provider }) => profile ?? provider ?? '').values()].map((about): FindingDraft => {
      const [first] = about
      return findingDraft(emptyTokenSent, evidence, {
        about,
        what: `${times(about.length, 'token request')} carried an empty refresh_token; the endpoint answered ${first?.status ?? 'nothing'}.`,
        confidence: 'certain',
        ...(first && { summarizeRequest: first }),
        hypotheses: [
          excluded('token_rejected', 'no token of this login was sent at all, so none can have been rejected'),
          excluded('another_caller', 'a request without a token is refused no matter which caller refreshes'),
          supported('request_shape', 'the field refresh_token is empty where a token belongs'),
        ],
      })
    })
  },
}
