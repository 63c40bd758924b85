import type { Application } from './application.ts'

const QUESTIONS = ['summarise the incident', 'write the release note', 'explain the stack trace', 'plan the migration']
let turns = 0

/** One turn of an agent: a streamed answer, read to its end. */
export async function answerUser({ watch, signal }: Application): Promise<void> {
  turns += 1
  const answer = await watch.call({
    protocol: 'responses',
    model: 'gpt-5.5',
    body: { model: 'gpt-5.5', input: QUESTIONS[turns % QUESTIONS.length], stream: true, store: false },
    signal,
  })
  for await (const _chunk of answer.body);
}
