import type { CallOptions } from '../../../gatewatch.ts'

const PATHS = {
  responses: '/v1/responses',
  chat_completions: '/v1/chat/completions',
  messages: '/v1/messages',
  models: '/v1/models',
} as const

/** A page that talks to the gateway over HTTP: on its spans a client stands where code has file and function. */
export async function sendMessage(gatewayUrl: string, { protocol, body, signal }: CallOptions): Promise<void> {
  const answer = await fetch(gatewayUrl + PATHS[protocol], {
    method: protocol === 'models' ? 'GET' : 'POST',
    headers: { 'content-type': 'application/json', 'x-gatewatch-caller': 'chat-page' },
    ...(protocol !== 'models' && { body: JSON.stringify(body) }),
    ...(signal && { signal }),
  })
  await answer.arrayBuffer()
}
