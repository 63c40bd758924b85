import type { RefreshReason } from '../domain/enums.ts'
import type { Fingerprint } from '../domain/fingerprint.ts'
import { dropOldest } from '../tools/drop-oldest.ts'

/** An access token as the ledger knows it: nothing that could be used. Times are epoch milliseconds. */
export interface AccessToken {
  readonly fingerprint: Fingerprint
  readonly expiresAt?: number | undefined
  readonly issuedAt?: number | undefined
  /** Digest of the account it says it belongs to. */
  readonly account?: string | undefined
}

/** A token request with what came of it, entered when it has ended. */
export interface ExchangedTokens {
  readonly provider: string
  readonly sentMs: number
  readonly endedMs: number
  /** Fingerprint of the refresh token that was sent. */
  readonly sent?: Fingerprint | undefined
  /** The request carried no refresh token that could be one: the credential it came from holds none. */
  readonly isTokenless?: boolean
  /** The answer granted tokens; where the client does not let them be seen, they are absent. */
  readonly granted?: { readonly access?: AccessToken | undefined; readonly refresh?: Fingerprint | undefined } | undefined
}

/** What the ledger says of a token request. */
export interface RequestLineage {
  /** `provider:<8 hex>`: by the account, where the tokens name it, else by the first token seen. */
  readonly profile: string | undefined
  readonly reason: RefreshReason
  /** Rotations of the grant that this process has seen, this one included. */
  readonly generation: number
  /** Another request had used the refresh token up. */
  readonly isReplay: boolean
  /** The answer left the refresh token as it was. */
  readonly isRetained: boolean
  /** The access token that was in use when the request was sent. */
  readonly before: AccessToken | undefined
  /** It had been rejected. */
  readonly wasRejected: boolean
}

interface Seen extends AccessToken {
  readonly sinceMs: number
  usedMs: number
  rejectedMs?: number
}

/** One grant: the tokens that followed one another. */
interface Family {
  readonly provider: string
  readonly root: string
  account: string | undefined
  /** What the application itself calls it, as telemetry may show it. */
  profile: string | undefined
  readonly access: Seen[]
  readonly refresh: Set<Fingerprint>
  generation: number
}

/** Longest time before expiry at which a refresh is still early rather than forced: OpenClaw's two margins of five minutes. */
const EXPIRING_MS = 600_000
const MOST_FAMILIES = 200
const MOST_TOKENS = 20

/**
 * Remembers which tokens this process was seen to use, and concludes from them why a token request was made and
 * whether it replays a token. Holds fingerprints only. Pure: the times come in, nothing is asked for.
 */
export class TokenLineage {
  readonly #families = new Map<string, Family>()
  readonly #byAccess = new Map<Fingerprint, Family>()
  readonly #byRefresh = new Map<Fingerprint, Family>()
  /** Refresh tokens that were rotated away, and when. */
  readonly #rotated = new Map<Fingerprint, number>()
  /** When a provider was last called without anything that could be a token. */
  readonly #bare = new Map<string, number>()

  /** A request to a provider carries an access token. */
  used(provider: string, token: AccessToken, atMs: number): void {
    const family =
      this.#byAccess.get(token.fingerprint) ?? this.#byAccount(provider, token.account) ?? this.#found(provider, token.fingerprint)
    this.#keep(family, token, atMs)
    this.#bare.delete(provider)
  }

  /** A request to a provider carries no token, or what a careless program makes of a missing one. */
  calledWithout(provider: string, atMs: number): void {
    this.#bare.set(provider, atMs)
  }

  /** The provider has answered 401 to a request with this access token. */
  rejected(fingerprint: Fingerprint, atMs: number): void {
    const seen = this.#byAccess.get(fingerprint)?.access.find(token => token.fingerprint === fingerprint)
    if (seen) seen.rejectedMs ??= atMs
  }

  /** The grant that an access token belongs to, by its profile's name. */
  profileOf(fingerprint: Fingerprint): string | undefined {
    const family = this.#byAccess.get(fingerprint)
    return family && nameOf(family)
  }

  /** No access token is known that belongs with this refresh token. */
  lacksAccess(provider: string, refresh: Fingerprint): boolean {
    return ((this.#byRefresh.get(refresh) ?? this.#onlyOneAt(provider))?.access.length ?? 0) === 0
  }

  /** Enters what the application has stored with a refresh token. */
  stored(
    provider: string,
    refresh: Fingerprint,
    { token, profile }: { token: AccessToken | undefined; profile: string | undefined },
    atMs: number,
  ): void {
    const known =
      this.#byRefresh.get(refresh) ?? (token && (this.#byAccess.get(token.fingerprint) ?? this.#byAccount(provider, token.account)))
    const family = known ?? this.#found(provider, refresh)
    family.profile ??= profile
    this.#belongs(family, refresh)
    if (token) this.#keep(family, token, atMs)
  }

  /** What is said of a token request that was entered already, now that more may be known of the token it sent. */
  recalled(provider: string, sent: Fingerprint, sentMs: number): Pick<RequestLineage, 'profile' | 'reason' | 'before' | 'wasRejected'> {
    const family = this.#byRefresh.get(sent)
    const before = family && inUse(family, sentMs)
    return {
      profile: family && nameOf(family),
      reason: this.#reason(provider, before, sentMs, false),
      before,
      wasRejected: before?.rejectedMs !== undefined && before.rejectedMs <= sentMs,
    }
  }

  /** Why a token was to be refreshed by a request that was never sent, since another one was sent for it. */
  asked(provider: string, sent: Fingerprint, sentMs: number): Pick<RequestLineage, 'profile' | 'reason' | 'generation'> {
    const family = this.#familyOf(provider, sent, undefined)
    const reason = this.#reason(provider, family && inUse(family, sentMs), sentMs, false)
    return { profile: family && nameOf(family), reason, generation: family?.generation ?? 0 }
  }

  /** Enters a token request that has ended. */
  exchanged({ provider, sentMs, endedMs, sent, isTokenless = false, granted }: ExchangedTokens): RequestLineage {
    const family = this.#familyOf(provider, sent, granted?.access?.account)
    const before = family && inUse(family, sentMs)
    const isReplay = sent !== undefined && this.#rotated.has(sent)
    const reason = this.#reason(provider, before, sentMs, isTokenless)
    const isRetained = granted !== undefined && (granted.refresh === undefined ? granted.access !== undefined : granted.refresh === sent)
    if (family && granted) this.#grant(family, granted, { sent, isRetained, endedMs })
    return {
      profile: family && nameOf(family),
      reason,
      generation: family?.generation ?? 0,
      isReplay,
      isRetained,
      before,
      wasRejected: before?.rejectedMs !== undefined && before.rejectedMs <= sentMs,
    }
  }

  #reason(provider: string, before: Seen | undefined, sentMs: number, isTokenless: boolean): RefreshReason {
    if (isTokenless) return 'missing'
    if (!before) return (this.#bare.get(provider) ?? Number.POSITIVE_INFINITY) <= sentMs ? 'missing' : 'unknown'
    if (before.rejectedMs !== undefined && before.rejectedMs <= sentMs) return 'rejected'
    if (before.expiresAt === undefined) return 'unknown'
    const leftMs = before.expiresAt - sentMs
    if (leftMs <= 0) return 'expired'
    return leftMs <= marginOf(before) ? 'expiring' : 'forced'
  }

  #grant(
    family: Family,
    { access, refresh }: NonNullable<ExchangedTokens['granted']>,
    { sent, isRetained, endedMs }: { sent: Fingerprint | undefined; isRetained: boolean; endedMs: number },
  ): void {
    if (access?.account !== undefined) family.account ??= access.account
    if (access) this.#keep(family, access, endedMs)
    if (refresh !== undefined) this.#belongs(family, refresh)
    if (isRetained || sent === undefined) return
    // An answer that cannot be read may have rotated the token: every provider that does not say otherwise does.
    this.#rotated.set(sent, endedMs)
    dropOldest(this.#rotated, MOST_FAMILIES * MOST_TOKENS)
    family.generation += 1
  }

  #familyOf(provider: string, sent: Fingerprint | undefined, account: string | undefined): Family | undefined {
    const known = (sent === undefined ? undefined : this.#byRefresh.get(sent)) ?? this.#byAccount(provider, account)
    const family = known ?? this.#onlyOneAt(provider) ?? (sent === undefined ? undefined : this.#found(provider, sent))
    if (family && sent !== undefined) this.#belongs(family, sent)
    return family
  }

  #byAccount(provider: string, account: string | undefined): Family | undefined {
    if (account === undefined) return undefined
    for (const family of this.#families.values()) if (family.account === account && family.provider === provider) return family
    return undefined
  }

  /** The grant whose access token was seen and whose refresh token was not, where there is no doubt which. */
  #onlyOneAt(provider: string): Family | undefined {
    const open = [...this.#families.values()].filter(family => family.provider === provider && family.refresh.size === 0)
    return open.length === 1 ? open[0] : undefined
  }

  #found(provider: string, root: Fingerprint): Family {
    const family: Family = { provider, root, account: undefined, profile: undefined, access: [], refresh: new Set(), generation: 0 }
    this.#families.set(root, family)
    if (this.#families.size > MOST_FAMILIES) this.#forgetOldest()
    return family
  }

  #keep(family: Family, token: AccessToken, atMs: number): void {
    const seen = family.access.find(({ fingerprint }) => fingerprint === token.fingerprint)
    if (seen) {
      seen.usedMs = atMs
      return
    }
    family.account ??= token.account
    // What a file says of the time before may be known later than what came after.
    const before = family.access.findLastIndex(({ sinceMs }) => sinceMs <= atMs)
    family.access.splice(before + 1, 0, { ...token, sinceMs: atMs, usedMs: atMs })
    this.#byAccess.set(token.fingerprint, family)
    const oldest = family.access.length > MOST_TOKENS ? family.access.shift() : undefined
    if (oldest) this.#byAccess.delete(oldest.fingerprint)
  }

  #belongs(family: Family, refresh: Fingerprint): void {
    family.refresh.add(refresh)
    this.#byRefresh.set(refresh, family)
    const [oldest] = family.refresh
    if (family.refresh.size <= MOST_TOKENS || oldest === undefined) return
    family.refresh.delete(oldest)
    this.#byRefresh.delete(oldest)
  }

  #forgetOldest(): void {
    const [oldest] = this.#families
    if (!oldest) return
    const [root, { access, refresh }] = oldest
    this.#families.delete(root)
    for (const { fingerprint } of access) this.#byAccess.delete(fingerprint)
    for (const fingerprint of refresh) this.#byRefresh.delete(fingerprint)
  }
}

/** The access token that a grant had at a moment: the latest that came, for what came later cannot have been the reason. */
function inUse(family: Family, atMs: number): Seen | undefined {
  return family.access.findLast(({ sinceMs }) => sinceMs <= atMs)
}

/** A token that lives ten minutes is not expiring all its life. */
function marginOf({ issuedAt, expiresAt = 0 }: AccessToken): number {
  return issuedAt === undefined ? EXPIRING_MS : Math.min(EXPIRING_MS, (expiresAt - issuedAt) / 4)
}

function nameOf({ provider, account, profile, root }: Family): string {
  return profile ?? `${provider}:${(account ?? root).slice(0, 8)}`
}
