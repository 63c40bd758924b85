import type { Application } from './application.ts'

/** A chat page that calls the gateway over HTTP: its spans name a client instead of file and function. */
export async function sendMessage({ gatewayUrl, signal }: Application): Promise<void> {
  const answer = await fetch(`${gatewayUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-gatewatch-caller': 'chat-page' },
    body: JSON.stringify({ model: 'gpt-5.5', messages: [{ role: 'user', content: 'hello' }] }),
    signal,
  })
  await answer.arrayBuffer()
}
