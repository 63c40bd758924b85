import type { Application } from './application.ts'

/** Gives a conversation its title: a small call that runs beside the agent's turns. */
export async function labelConversation({ watch, signal }: Application): Promise<void> {
  const answer = await watch.call({
    protocol: 'responses',
    model: 'gpt-5.5-mini',
    body: { model: 'gpt-5.5-mini', input: 'a title of five words', store: false },
    signal,
  })
  answer.body.resume()
}
