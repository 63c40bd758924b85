import { randomUUID } from 'node:crypto'
import { rm, stat, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

export interface ClaimedRefresh {
  readonly tokenUrl: string
  readonly refreshToken: string
  /** The file that says that somebody refreshes. */
  readonly claim: string
  /** How long a claim of another caller is watched, in ms. */
  readonly waitMs: number
}

/** The claim of another caller was not settled in time. */
class ClaimPendingError extends Error {
  override readonly name = 'ClaimPendingError'
}

const LOOK_EVERY_MS = 25

/** A session that needs a fresh token before it goes on. */
export async function renewSession(refresh: () => Promise<void>): Promise<void> {
  await refresh()
}

/**
 * Claims the refresh, sends the token, takes the claim back. A caller that finds a claim watches it: that whoever made it may be
 * dead does not come to its mind.
 */
export async function refreshUnderClaim({ tokenUrl, refreshToken, claim, waitMs }: ClaimedRefresh): Promise<void> {
  if (!(await claims(claim))) return settled(claim, waitMs)
  const answer = await fetch(tokenUrl, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken, client_id: 'app_claiming' }),
  })
  await answer.arrayBuffer()
  await rm(claim)
}

async function claims(claim: string): Promise<boolean> {
  try {
    await writeFile(claim, randomUUID(), { flag: 'wx' })
    return true
  } catch {
    return false
  }
}

async function settled(claim: string, waitMs: number): Promise<void> {
  for (let waitedMs = 0; waitedMs < waitMs; waitedMs += LOOK_EVERY_MS) {
    if (!(await isThere(claim))) return
    await sleep(LOOK_EVERY_MS)
  }
  throw new ClaimPendingError('another caller has claimed the refresh and does not settle it')
}

async function isThere(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  )
}
