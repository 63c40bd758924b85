import type { Application } from './application.ts'

/** The status bar asks for the quota, and to be sure it forces a refresh first. The gate sees no need and says so. */
export async function pollUsage({ watch, profileId, signal }: Application): Promise<void> {
  await watch.acquireToken({ profile: profileId, reason: 'forced', signal })
}
