import type { Application } from './application.ts'

/** The status bar polls the quota and forces a refresh first; the gate decides `reuse`. */
export async function pollUsage({ watch, profileId, signal }: Application): Promise<void> {
  await watch.acquireToken({ profile: profileId, reason: 'forced', signal })
}
