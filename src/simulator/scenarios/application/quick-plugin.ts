/** A plugin that posts to the token endpoint itself and does not store the answer. */
export async function refreshOnItsOwn(tokenUrl: string, refreshToken: string): Promise<void> {
  const answer = await fetch(tokenUrl, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken, client_id: 'quick-plugin' }),
  })
  await answer.arrayBuffer()
}
