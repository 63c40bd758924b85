import { type Case, PATH, type Runner, requestHeaders } from './measurement.ts'
import { ANSWER_TEXT, requestBody } from './provider-answer.ts'

/** Asks a contestant once for each body: a gateway that answers wrong would get numbers that mean nothing. @throws {Error} */
export async function checkAnswers(runner: Runner): Promise<void> {
  for (const body of ['JSON', 'SSE'] as const) {
    const text = await ask(runner, { body })
    const said = body === 'SSE' ? streamedText(text) : textOf(JSON.parse(text) as Completion)
    if (said !== ANSWER_TEXT) throw new Error(`contestant ${runner.id} did not pass the ${body} answer on: ${text.slice(0, 300)}`)
  }
}

interface Completion {
  readonly choices?: readonly { readonly message?: { readonly content?: string }; readonly delta?: { readonly content?: string } }[]
}

async function ask(runner: Runner, { body }: Pick<Case, 'body'>): Promise<string> {
  const answer = await fetch(runner.child.url + PATH, {
    method: 'POST',
    headers: requestHeaders(runner, { body }),
    body: requestBody(body === 'SSE'),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`contestant ${runner.id} answers ${answer.status}: ${text.slice(0, 300)}`)
  return text
}

function streamedText(events: string): string {
  return events
    .split('\n\n')
    .filter(event => event.startsWith('data: {'))
    .map(event => textOf(JSON.parse(event.slice('data: '.length)) as Completion))
    .join('')
}

function textOf({ choices }: Completion): string {
  const [choice] = choices ?? []
  return choice?.message?.content ?? choice?.delta?.content ?? ''
}
