import { describe, expect, it } from 'vitest'
import { UsageReader } from '../../src/providers/usage-reader.ts'

const event = (data: object) => `event: x\ndata: ${JSON.stringify(data)}\n\n`

const BODIES: readonly (readonly [what: string, isEventStream: boolean, body: string, usage: object | undefined])[] = [
  [
    'a chat completion',
    false,
    JSON.stringify({
      id: 'c',
      choices: [],
      usage: { prompt_tokens: 12, completion_tokens: 34, prompt_tokens_details: { cached_tokens: 3 } },
    }),
    { inputTokens: 12, outputTokens: 34 },
  ],
  [
    'pretty printed JSON',
    false,
    JSON.stringify({ usage: { input_tokens: 5, output_tokens: 6 } }, null, 2),
    { inputTokens: 5, outputTokens: 6 },
  ],
  [
    'a chat stream, null until the end',
    true,
    `${event({ choices: [{ delta: { content: 'é"usage"' } }], usage: null })}${event({ choices: [], usage: { prompt_tokens: 7, completion_tokens: 8 } })}data: [DONE]\n\n`,
    { inputTokens: 7, outputTokens: 8 },
  ],
  [
    'a responses stream',
    true,
    `${event({ type: 'response.created', response: { usage: null, tools: [{ parameters: { properties: { usage: { type: 'string' } } } }] } })}${event({ type: 'response.completed', response: { usage: { input_tokens: 100, output_tokens: 50, total_tokens: 150 } } })}`,
    { inputTokens: 100, outputTokens: 50 },
  ],
  [
    'an Anthropic stream, merged, with its cached input',
    true,
    `${event({ type: 'message_start', message: { usage: { input_tokens: 25, cache_creation_input_tokens: 10, cache_read_input_tokens: 5, output_tokens: 1 } } })}${event({ type: 'message_delta', delta: {}, usage: { output_tokens: 15 } })}`,
    { inputTokens: 40, outputTokens: 15 },
  ],
  [
    'the word inside of texts',
    false,
    JSON.stringify({ a: '"usage": {"prompt_tokens": 999}', usage: { input_tokens: 1, note: '} "usage" {\\', output_tokens: 2 } }),
    { inputTokens: 1, outputTokens: 2 },
  ],
  ['the word as a value', false, '{"type":"usage","x":{"prompt_tokens":9}}', undefined],
  ['the word twice in a row', false, '{"usage":"usage","usage":{"prompt_tokens":9}}', { inputTokens: 9 }],
  ['a needle that begins again', false, '{"usag"usage":{"prompt_tokens":9}}', { inputTokens: 9 }],
  ['numbers that are none', false, '{"usage":{"prompt_tokens":"9","completion_tokens":-1,"input_tokens":1.5}}', undefined],
  ['an object that is too long', false, `{"usage":{"x":"${'y'.repeat(9000)}"},"usage":{"prompt_tokens":9}}`, { inputTokens: 9 }],
  ['an event that is cut off', true, `data: {"usage":{"x":"\n\n${event({ usage: { prompt_tokens: 9 } })}`, { inputTokens: 9 }],
  ['an unfinished body', false, '{"usage":{"prompt_tokens":9', undefined],
  ['nothing', false, '', undefined],
]

function read(isEventStream: boolean, chunks: Iterable<Buffer>): object | undefined {
  const reader = new UsageReader(isEventStream)
  for (const chunk of chunks) reader.read(chunk)
  return reader.usage
}

function* cut(body: Buffer, sizeAt: (index: number) => number): Generator<Buffer> {
  for (let at = 0, index = 0; at < body.length; index++) {
    const size = sizeAt(index)
    // A copy that is wiped afterwards: a reader that keeps a view of a socket's buffer would read rubbish.
    const chunk = Buffer.from(body.subarray(at, at + size))
    yield chunk
    chunk.fill('#')
    at += size
  }
}

describe('reading usage on the way', () => {
  it.each(BODIES)('%s', (_what, isEventStream, body, usage) => {
    expect(read(isEventStream, [Buffer.from(body)])).toEqual(usage)
  })

  it.each(BODIES)('%s, in whatever chunks', (_what, isEventStream, text, usage) => {
    const body = Buffer.from(text)
    for (const size of [1, 2, 3, 5, 7, 11, 64])
      expect(
        read(
          isEventStream,
          cut(body, () => size),
        ),
      ).toEqual(usage)
    let seed = 42
    const random = () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
      return 1 + (seed % 40)
    }
    for (let round = 0; round < 20; round++) expect(read(isEventStream, cut(body, random))).toEqual(usage)
  })
})
