import type { Application } from './application.ts'

/** A timer that keeps the token fresh, so that no turn has to wait for a refresh. */
export async function keepTokenWarm({ watch, profileId, signal }: Application): Promise<void> {
  await watch.acquireToken({ profile: profileId, reason: 'scheduled', signal })
}
