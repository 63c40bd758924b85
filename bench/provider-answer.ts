/** What the stand-in for a provider answers: always the same, so that only the way there and back is measured. */

const WORDS = 'A gateway stands between those who ask and those who answer and takes nothing for itself on the way through the door'.split(
  ' ',
)

/** The text of the answer, streamed or not. */
export const ANSWER_TEXT = Array.from({ length: 160 }, (_, index) => WORDS[index % WORDS.length]).join(' ')

const PIECES = 28
const USAGE = { prompt_tokens: 212, completion_tokens: 164, total_tokens: 376 }
const COMMON = { id: 'chatcmpl-9f3b2a7c51d84e06', created: 1_790_000_000, model: 'bench-model', system_fingerprint: 'fp_5d9c2b' }

/** A chat completion of about 1.5 kB. */
export const JSON_ANSWER = Buffer.from(
  JSON.stringify({
    ...COMMON,
    object: 'chat.completion',
    choices: [{ index: 0, message: { role: 'assistant', content: ANSWER_TEXT, refusal: null }, logprobs: null, finish_reason: 'stop' }],
    usage: USAGE,
  }),
)

/** The same as a stream of server-sent events, thirty chunks in all. */
export const EVENT_ANSWER: readonly Buffer[] = [
  ...pieces().map(delta),
  event({ choices: [], usage: USAGE }),
  Buffer.from('data: [DONE]\n\n'),
]

/** What a client sends: a short conversation of about 1 kB. */
export function requestBody(isStream: boolean): string {
  return JSON.stringify({
    model: 'bench-model',
    stream: isStream,
    ...(isStream && { stream_options: { include_usage: true } }),
    messages: [
      { role: 'system', content: 'You are the assistant of an operator who wants to know why a token was refreshed. Be brief and exact.' },
      { role: 'user', content: ANSWER_TEXT.slice(0, 700) },
    ],
  })
}

function pieces(): string[] {
  const length = Math.ceil(ANSWER_TEXT.length / PIECES)
  return Array.from({ length: PIECES }, (_, index) => ANSWER_TEXT.slice(index * length, (index + 1) * length))
}

function delta(content: string, index: number): Buffer {
  const role = index === 0 ? { role: 'assistant' } : {}
  return event({ choices: [{ index: 0, delta: { ...role, content }, logprobs: null, finish_reason: null }] })
}

function event(rest: object): Buffer {
  return Buffer.from(`data: ${JSON.stringify({ ...COMMON, object: 'chat.completion.chunk', ...rest })}\n\n`)
}
