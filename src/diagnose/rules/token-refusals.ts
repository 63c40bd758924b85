import type { TokenRequestEvent } from '../../domain/events.ts'
import { byLogin, byProfile, type Evidence, type Group, grouped, isFailedRefresh, isRefusedForGood, lastOf } from '../evidence.ts'
import { answerText, times } from '../messages.ts'
import { comparedShapes } from '../request-shapes.ts'
import { type Detected, excluded, type Rule, shapeVerdicts, supported } from '../rule.ts'

const DAY_S = 86_400
/** A login this young has not been refreshed by another caller. */
const FRESH_S = 300
/** Reasons of a refresh that had to be made. */
const DUE: ReadonlySet<string | undefined> = new Set(['expired', 'missing'])

const USED_UNSEEN = {
  title: 'The refresh token was used up by a caller that is not recorded',
  remedy: [
    'Find out what else uses this login: another machine, a container, a CLI, a desktop application; it sent the token before the time above.',
    'Watch it as well (gatewatch run), or give it its own login.',
    'Then sign in again here.',
  ],
}
const TOKEN_REFUSED = {
  title: 'The token endpoint refuses the refresh token: the login has ended',
  remedy: [
    'Sign in again: gatewatch profiles login, or the login of the application.',
    'If the next refresh is refused as well, check the request: what differs from the last one that worked?',
  ],
}
const INTERACTION_REQUIRED = {
  title: 'The provider requires a sign-in: it asks for a second factor, consent or an account',
  remedy: [
    'Sign in again and complete what the provider asks for: gatewatch profiles login, or the login of the application.',
    'If it asks repeatedly, check the policy of the account (conditional access, session length, consent of the administrator).',
  ],
}
const CLIENT_REFUSED = {
  title: 'The provider does not accept the client: its id or secret is wrong, or has expired',
  remedy: [
    'Check the client id and secret (providers.<id>.clientId and clientSecretEnv): was the secret renewed at the provider, and in the variable?',
    'Restart the process that reads them. No sign-in is needed: the login itself was not refused.',
  ],
}
const ACCOUNT_TAKEN = {
  severity: 'divergence',
  title: 'An application has taken the tokens of another account',
  remedy: [
    'Stop the process named here: it acts for another account.',
    'Sign in again with the intended account; give each account its own profile.',
    'Let the application compare the account of an answer with the one it had.',
  ],
} as const

/** The token endpoint judged the grant or the request. */
export const TOKEN_REFUSAL_RULES: readonly Rule[] = [
  {
    kind: 'fresh_login_rejected',
    severity: 'grant_dead',
    title: 'The refresh token of a login that was just made is rejected',
    symptom: 'Right after a sign-in, refreshes are refused again; another sign-in changes nothing.',
    detectedBy: 'the age of the token, the first use of this refresh token while its access token was valid, and a permanent refusal',
    remedy: [
      'Do not refresh right after a login: the access token is valid. Stop the caller named here from forcing refreshes.',
      'Use the login without a refresh until it expires; if the first refresh then works, the provider needs time after a login.',
      'If it is refused then too, report the request id of the refusal to the provider: account, client id or scope is at fault.',
    ],
    explains: ['refresh_refused'],
    detect: evidence =>
      byProfile(evidence.refreshes.filter(refresh => isFirstOfFreshLogin(evidence, refresh))).map(group => freshRejected(evidence, group)),
  },
  {
    kind: 'grant_expired',
    severity: 'grant_dead',
    title: 'The login has expired',
    symptom: 'A profile that was not used for a while can no longer be refreshed.',
    detectedBy: 'the code of the provider (refresh_token_expired) and the age of the token',
    remedy: [
      'Sign in again.',
      'Let a timer acquire a token at the gate with the reason scheduled, so that an unused login does not expire.',
    ],
    explains: ['refresh_refused', 'refresh_failing'],
    detect: evidence =>
      byLogin(evidence.refreshes.filter(({ outcome, isError }) => isError && outcome === 'grant_expired')).map(about => {
        const [{ tokenAgeS: age }] = about
        const ageText = (ageS: number) => (ageS < 2 * DAY_S ? `${Math.round(ageS / 3600)} h` : `${Math.round(ageS / DAY_S)} days`)
        return {
          about,
          what: `${times(about.length, 'refresh')} refused as too old (${answerText(about[0])})${age === undefined ? '' : `; the access token was issued ${ageText(age)} ago`}.`,
          hypotheses: [
            supported('token_rejected', 'the endpoint states that the refresh token has expired'),
            ...shapeVerdicts(evidence, about[0]),
          ],
        }
      }),
  },
  {
    kind: 'identity_mismatch',
    severity: 'grant_dead',
    title: 'A refresh brought the tokens of another account',
    symptom: 'Since the last refresh, calls are answered for another workspace or refused with 403.',
    detectedBy: 'the fingerprint of the account in the answer, which differs from that of the profile',
    remedy: [
      'Find out which account it is: the user of this login belongs to several workspaces, and the provider picks one.',
      'Sign in again with the account of the profile; the gate has not stored the tokens of the other one.',
      'Give each account its own profile.',
    ],
    explains: ['refresh_refused'],
    detect: ({ refreshes }) =>
      byLogin(refreshes.filter(({ outcome, accountAfter }) => outcome === 'identity_mismatch' || accountAfter !== undefined)).map(about => {
        const [{ accountBefore = 'unknown', accountAfter = 'unknown' }] = about
        // A watched application accepts the tokens of another account; the gate refuses them.
        const taken = about.filter(refresh => !isFailedRefresh(refresh)).length
        return {
          about,
          ...(taken > 0 && ACCOUNT_TAKEN),
          what: `${times(about.length, 'answer')} of the token endpoint went from account ${accountBefore} to ${accountAfter} (fingerprints); ${taken > 0 ? `the tokens were taken ${times(taken, 'time')}` : 'the tokens were refused, nothing of them is stored'}.`,
          hypotheses: [excluded('token_rejected', 'the endpoint accepted the refresh token and answered with tokens')],
        }
      }),
  },
  {
    kind: 'refresh_refused',
    severity: 'grant_dead',
    title: 'The token endpoint refuses the refresh permanently',
    symptom: 'A profile can no longer be refreshed; its calls fail, or another profile serves them.',
    detectedBy: 'a permanent outcome of a refresh that no other rule explains',
    remedy: [
      'Check the code of the provider and the request: what differs from the last one that worked?',
      'Sign in again; the next refresh shows whether the login or the request is at fault.',
    ],
    // A refresh that ends as `needs_login` sent nothing, so nothing was refused.
    detect: evidence =>
      byLogin(evidence.refreshes.filter(refresh => isRefusedForGood(refresh) && refresh.outcome !== 'needs_login')).map(group =>
        refused(evidence, group),
      ),
  },
  {
    kind: 'refresh_failing',
    severity: 'warning',
    title: 'Refreshes fail temporarily',
    symptom: 'Refreshes fail sometimes, or for a while; the login is valid.',
    detectedBy: 'transient outcomes of refreshes that no other rule explains',
    remedy: ['Check outcome and status; the traces show how long each refresh waited.', 'No sign-in is needed.'],
    detect: ({ refreshes }) => {
      // A blocked request was not sent: the finding about the gate names it.
      const failing = refreshes.filter(refresh => isFailedRefresh(refresh) && !isRefusedForGood(refresh) && refresh.outcome !== 'blocked')
      // A refused client does not recover by itself, and needs no sign-in: it is a finding of its own.
      return grouped(failing, ({ outcome, profile, provider }) => `${outcome === 'refused'} ${profile ?? provider ?? ''}`).map(about => ({
        about,
        ...(lastOf(about).outcome === 'refused' && CLIENT_REFUSED),
        what: `${times(about.length, 'refresh')} failed: ${refusalText(lastOf(about))}.`,
        confidence: 'possible',
        surerBy: 'an answer of the token endpoint, where there was none',
      }))
    },
  },
]

function isFirstOfFreshLogin(evidence: Evidence, refresh: TokenRequestEvent): boolean {
  const { isError, outcome, reason, replay, providerErrorCode, tokenAgeS, refreshFingerprintBefore: sent } = refresh
  // Other outcomes: no token was sent, or the provider says that the login is too old.
  if (!isError || sent === undefined || outcome !== 'invalidated') return false
  // The access token had ended: a refresh was due, and its haste is not the cause.
  if (DUE.has(reason)) return false
  // The token was good and another caller used it: another finding.
  if (replay === true || providerErrorCode === 'refresh_token_reused') return false
  const isFresh = tokenAgeS !== undefined && tokenAgeS <= FRESH_S
  return isFresh && evidence.issuerOf(sent) === undefined && !evidence.rotationOf(refresh)
}

function freshRejected(evidence: Evidence, group: Group<TokenRequestEvent>): Detected {
  const [first] = group
  const sent = new Set(group.map(({ refreshFingerprintBefore }) => refreshFingerprintBefore))
  const again = [...sent].flatMap(token => evidence.sendersOf(token).filter(refresh => refresh.isError && !group.includes(refresh)))
  const isForced = group.some(({ reason }) => reason === 'forced' || reason === 'operator')
  return {
    about: [...group, ...again],
    request: first,
    what: `${times(group.length, 'first refresh')} of a login ${first.tokenAgeS} s old ended in ${first.httpStatus} ${answerText(first)}${isForced ? '; it was forced while the access token was valid' : ''}.`,
    surerBy: 'watching every process that has this login: no other caller was seen to use the token, but one that is not watched may have',
    hypotheses: [
      supported('token_rejected', 'no caller had sent this refresh token before, and it is refused seconds after it was issued'),
      ...shapeVerdicts(evidence, first),
    ],
  }
}

function refused(evidence: Evidence, about: Group<TokenRequestEvent>): Detected {
  const last = lastOf(about)
  const shape = comparedShapes(evidence, last)
  const isAlike = (shape?.differences ?? []).length === 0
  const usedUp = about.filter(refresh => saysUsedUp(refresh) && !evidence.rotationOf(refresh)).length
  const every = (wanted: string) => about.every(({ outcome }) => outcome === wanted)
  return {
    about,
    ...(every('interaction_required') && INTERACTION_REQUIRED),
    // Where the request is no different from the last that worked, the token is what was refused.
    ...(every('invalidated') && isAlike && TOKEN_REFUSED),
    ...(usedUp > 0 && USED_UNSEEN),
    what: `${times(about.length, 'refresh')} refused permanently: ${refusalText(last)}${usedUp > 0 ? `; ${usedUp} of them sent a token that had been used before, and no recorded caller used it` : ''}.`,
    confidence: usedUp > 0 ? 'likely' : 'possible',
    surerBy: 'watching every process that has this login: gatewatch run, with --gate or --preset',
    hypotheses: [
      ...(usedUp > 0
        ? [supported('another_caller', 'the token had been used already, by a process or a machine that is not watched')]
        : []),
      ...(shape?.lastGood && isAlike && usedUp === 0
        ? [supported('token_rejected', 'the request looks like the last one that worked, and no other caller was seen to use its token')]
        : []),
      ...shapeVerdicts(evidence, last),
    ],
  }
}

/** The provider says that another request has used the token up. */
function saysUsedUp({ replay, providerErrorCode = '' }: TokenRequestEvent): boolean {
  return replay === true || /reused|already_used/.test(providerErrorCode)
}

function refusalText(refresh: TokenRequestEvent): string {
  return `${refresh.httpStatus ?? 'no answer'} ${answerText(refresh) ?? ''}`
}
