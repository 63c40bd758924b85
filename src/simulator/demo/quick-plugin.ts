import type { Application } from './application.ts'

/**
 * A plugin with its own copy of the refresh token, which it posts to the token endpoint itself: past the gate, without a lock, and
 * with a token that was rotated away long ago.
 */
export async function refreshOnItsOwn({ tokenUrl, copiedRefreshToken, signal }: Application): Promise<void> {
  const answer = await fetch(tokenUrl, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: copiedRefreshToken(), client_id: 'quick-plugin' }),
    signal,
  })
  await answer.arrayBuffer()
}
