import { expiryOf, isOAuth } from '../domain/credential.ts'
import type { ImportSource } from '../domain/enums.ts'
import { fingerprint } from '../domain/fingerprint.ts'
import type { ImportedProfile, ProfileImport } from '../importers/profile-import.ts'
import { profileName } from '../telemetry/profile-name.ts'
import { type ListenAddress, listenUrl, placesNote, tokenGateUrl } from './gate-url.ts'
import { inWords, textTable } from './table.ts'

const APPLICATIONS: Readonly<Record<ImportSource, string>> = {
  openclaw: 'OpenClaw',
  codex: 'the Codex CLI',
  claude: 'Claude Code',
  gemini: 'the Gemini CLI',
}

/** An import as programs read it. Accounts are digests, profiles go by their shown names. */
export function importValue({ source, dryRun, places, profiles, order, notes }: ProfileImport, nowMs: number) {
  return { source, dryRun, places, profiles: profiles.map(profile => rowOf(profile, nowMs)), order: order.map(profileName), notes }
}

/** An import for people: what came, what was left out and why, and what to do about tokens that must have one owner. */
export function importText(imported: ProfileImport, nowMs: number, listen: ListenAddress): string {
  const { source, dryRun, places, profiles, order, notes } = imported
  const parts = [`From ${APPLICATIONS[source]}: ${places.join(', ') || 'nothing was read'}`]
  if (profiles.length > 0) parts.push(profileRows(imported, nowMs))
  const sentences = [
    ...profiles.flatMap(({ id, notes: said }) => said.map(note => `${profileName(id)}: ${note}.`)),
    ...notes,
    ...(order.length > 1 ? [`${APPLICATIONS[source]} tries them in this order: ${order.map(profileName).join(', ')}.`] : []),
  ]
  if (sentences.length > 0) parts.push(sentences.join('\n'))
  const rotating = profiles.filter(({ rotates, outcome }) => rotates && outcome !== 'unusable' && outcome !== 'unchanged')
  if (rotating.length > 0) parts.push(ownerAdvice(imported, rotating, listen))
  if (dryRun) parts.push('Nothing was stored (--dry-run).')
  return parts.join('\n\n')
}

function profileRows({ profiles, dryRun }: ProfileImport, nowMs: number): string {
  return textTable(
    ['PROFILE', 'TYPE', 'EXPIRES IN', 'GENERATION', 'ACCOUNT', dryRun ? 'WOULD BE' : 'OUTCOME'],
    profiles.map(profile => {
      const { profile: name, type, expiresInSeconds, generation, account, outcome } = rowOf(profile, nowMs)
      return [
        name,
        type ?? '-',
        expiresInSeconds === undefined ? '-' : inWords(expiresInSeconds),
        generation ?? '-',
        account ?? '-',
        outcome.replaceAll('_', ' '),
      ]
    }),
  )
}

function rowOf({ id, provider, outcome, credential, rotates, notes }: ImportedProfile, nowMs: number) {
  const expiresAt = credential && expiryOf(credential)
  const oauth = credential && isOAuth(credential) ? credential : undefined
  return {
    profile: profileName(id),
    provider,
    outcome,
    type: credential?.type,
    expiresInSeconds: expiresAt === undefined ? undefined : Math.round((expiresAt - nowMs) / 1000),
    generation: oauth?.generation,
    account: fingerprint(oauth?.account),
    hasRefresh: oauth && oauth.refresh !== undefined,
    rotates,
    notes,
  }
}

/** A rotating token that two programs hold ends with the one locking the other out: the incident this project comes from. */
function ownerAdvice({ source }: ProfileImport, rotating: readonly ImportedProfile[], listen: ListenAddress): string {
  const application = APPLICATIONS[source]
  const providers = [...new Set(rotating.map(({ provider }) => provider))]
  const taken = rotating.some(({ outcome }) => outcome === 'imported' || outcome === 'replaced')
  const opening = taken
    ? `A refresh token that rotates must have one owner, and ${application} still holds this one. A caller that refreshes second is locked out, so do one of these before either does:`
    : `A refresh token that rotates must have one owner: of two, a caller that refreshes second is locked out. Choose one of these:`
  const urls = providers.map(provider => tokenGateUrl(listenUrl(listen), provider, listen)).join(' or ')
  const pointed =
    source === 'codex'
      ? `start Codex with CODEX_REFRESH_TOKEN_URL_OVERRIDE=${urls}`
      : `point the token URL of ${application} to ${urls}, where it has one`
  const flag = taken ? '' : ', and import with --take-ownership'
  return [
    opening,
    `- both go through one gate: ${pointed}${placesNote(listen)}${flag}`,
    `- two logins, each with a token of its own: gatewatch profiles login --provider ${providers[0]}`,
    `- Gatewatch alone: take the login out of the file of ${application} (a logout there may revoke the token)${flag}`,
    ...(source === 'codex' ? [codexCalls(listen)] : []),
  ].join('\n')
}

/** Without `supports_websockets = false` the Codex CLI may try a WebSocket first, and logs that it was refused. */
function codexCalls(listen: ListenAddress): string {
  const provider = `base_url = "${listenUrl(listen)}/v1", wire_api = "responses" and supports_websockets = false`
  return `The calls of Codex go through the gateway with a model provider of its own in ~/.codex/config.toml: ${provider}.`
}
