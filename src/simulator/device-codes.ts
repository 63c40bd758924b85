import { randomBytes, randomInt } from 'node:crypto'

/** A code that waits to be entered on another device. */
interface DeviceCodeIssued {
  readonly deviceCode: string
  readonly userCode: string
  readonly clientId: string
  readonly scope: string | undefined
  readonly goodUntil: number
}

/** What became of a code. */
export type DeviceStanding =
  | { readonly type: 'pending' | 'slow_down' | 'denied' | 'expired' | 'unknown' }
  | { readonly type: 'entered'; readonly account: string; readonly issued: DeviceCodeIssued }

interface DeviceCodesOptions {
  /** Life of a code, in ms. */
  lifeMs: number
  /** Least time between two polls, in ms. */
  intervalMs: number
  now: () => number
}

/** As RFC 8628 section 6.1 likes them: no vowels, nothing that is mistaken for another. */
const LETTERS = 'BCDFGHJKLMNPQRSTVWXZ'

/** Codes for other devices: entered once, fetched once. */
export class DeviceCodes {
  readonly intervalMs: number
  readonly lifeMs: number
  readonly #now: () => number
  readonly #codes = new Map<string, DeviceCodeIssued>()
  readonly #entered = new Map<string, { readonly account: string | undefined }>()
  readonly #askedAt = new Map<string, number>()

  constructor({ lifeMs, intervalMs, now }: DeviceCodesOptions) {
    this.lifeMs = lifeMs
    this.intervalMs = intervalMs
    this.#now = now
  }

  issue(clientId: string, scope?: string): DeviceCodeIssued {
    const letters = Array.from({ length: 8 }, () => LETTERS[randomInt(LETTERS.length)])
    const issued = {
      deviceCode: `dc_${randomBytes(24).toString('base64url')}`,
      userCode: `${letters.slice(0, 4).join('')}-${letters.slice(4).join('')}`,
      clientId,
      scope,
      goodUntil: this.#now() + this.lifeMs,
    }
    this.#codes.set(issued.deviceCode, issued)
    return issued
  }

  /** The person enters the code. @param account Who they are; `undefined` when they refuse. @returns false for a code nobody knows. */
  enter(userCode: string, account: string | undefined): boolean {
    const issued = [...this.#codes.values()].find(code => code.userCode === userCode)
    if (!issued || issued.goodUntil <= this.#now()) return false
    this.#entered.set(issued.deviceCode, { account })
    return true
  }

  /** The other device asks. A code that was entered is spent by the answer. */
  ask(deviceCode: string): DeviceStanding {
    const issued = this.#codes.get(deviceCode)
    if (!issued) return { type: 'unknown' }
    if (issued.goodUntil <= this.#now()) return { type: 'expired' }
    const before = this.#askedAt.get(deviceCode) ?? Number.NEGATIVE_INFINITY
    this.#askedAt.set(deviceCode, this.#now())
    // A tenth of patience: a timer may come a little early.
    if (this.#now() - before < this.intervalMs * 0.9) return { type: 'slow_down' }
    const entered = this.#entered.get(deviceCode)
    if (!entered) return { type: 'pending' }
    this.#codes.delete(deviceCode)
    return entered.account === undefined ? { type: 'denied' } : { type: 'entered', account: entered.account, issued }
  }

  clear(): void {
    for (const kept of [this.#codes, this.#entered, this.#askedAt]) kept.clear()
  }
}
