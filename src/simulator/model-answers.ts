import { createHash } from 'node:crypto'
import { type Answer, anthropicError, missingParameter, serverSentEvent } from './http-exchange.ts'

/** What the simulated model read and says; everything in it follows from the request alone. */
interface ModelCompletion {
  readonly model: string
  /** 24 hex digits; the ids of the answer are made of it. */
  readonly digest: string
  /** Epoch seconds, from the digest and not from the clock. */
  readonly createdAt: number
  readonly text: string
  /** The text in the pieces a stream sends it in. */
  readonly pieces: readonly string[]
  readonly inputTokens: number
  readonly outputTokens: number
}

/**
 * Builds an answer from the length and the digest of the input.
 *
 * Equal model and input give an equal turn, streamed or not, so that a caller can verify that the input arrived unchanged.
 *
 * @param input What the model reads: the messages or the input of the request, as parsed JSON.
 */
function modelCompletion(model: string, input: unknown): ModelCompletion {
  const read = typeof input === 'string' ? input : (JSON.stringify(input) ?? '')
  const digest = createHash('sha256').update(`${model}\0${read}`).digest('hex').slice(0, 24)
  const text = `Simulated answer of ${model}: read ${read.length} characters, digest ${digest.slice(0, 12)}.`
  const pieces = text.match(/\S+\s*/g) ?? []
  return {
    model,
    digest,
    createdAt: 1_750_000_000 + (Number.parseInt(digest.slice(0, 6), 16) % 10_000_000),
    text,
    pieces,
    inputTokens: Math.ceil(read.length / 4),
    outputTokens: pieces.length,
  }
}

/** Answers `POST /v1/chat/completions`, JSON or stream. */
export function chatCompletion(request: Record<string, unknown>): Answer {
  const { model, messages, stream, stream_options: streamOptions } = request
  if (typeof model !== 'string') return missingParameter('model')
  if (!Array.isArray(messages)) return missingParameter('messages')
  const turn = modelCompletion(model, messages)
  if (stream !== true) return { status: 200, body: chatBody(turn), code: 'ok' }
  const includeUsage = (streamOptions as { include_usage?: unknown } | undefined)?.include_usage === true
  return { status: 200, events: chunks(turn, includeUsage), code: 'ok' }
}

function chatBody(turn: ModelCompletion): object {
  return {
    ...chatHeading(turn, 'chat.completion'),
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: turn.text, refusal: null, annotations: [] },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: chatUsage(turn),
  }
}

function chunks(turn: ModelCompletion, includeUsage: boolean): string[] {
  // With include_usage every chunk but the last says `usage: null`, and the last one has no choices.
  const chunk = (choices: object[], counted: object | null = null) =>
    serverSentEvent({ ...chatHeading(turn, 'chat.completion.chunk'), choices, ...(includeUsage ? { usage: counted } : {}) })
  const choice = (delta: object, finishReason: string | null = null) => [{ index: 0, delta, logprobs: null, finish_reason: finishReason }]
  return [
    chunk(choice({ role: 'assistant', content: '', refusal: null })),
    ...turn.pieces.map(content => chunk(choice({ content }))),
    chunk(choice({}, 'stop')),
    ...(includeUsage ? [chunk([], chatUsage(turn))] : []),
    serverSentEvent('[DONE]'),
  ]
}

function chatHeading({ digest, createdAt, model }: ModelCompletion, object: string): object {
  return { id: `chatcmpl-${digest}`, object, created: createdAt, model, service_tier: 'default', system_fingerprint: 'fp_simulated' }
}

function chatUsage({ inputTokens, outputTokens }: ModelCompletion): object {
  return {
    prompt_tokens: inputTokens,
    completion_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0, accepted_prediction_tokens: 0, rejected_prediction_tokens: 0 },
  }
}

/** Answers `POST /v1/responses` and the ChatGPT backend's `POST /backend-api/codex/responses`, JSON or stream. */
export function responsesAnswer(request: Record<string, unknown>): Answer {
  const { model, input, instructions, store, stream } = request
  if (typeof model !== 'string') return missingParameter('model')
  if (typeof input !== 'string' && !Array.isArray(input)) return missingParameter('input')
  const turn = modelCompletion(model, instructions === undefined || instructions === null ? input : [instructions, input])
  const shell = { ...responseHeading(turn), instructions: typeof instructions === 'string' ? instructions : null, store: store !== false }
  if (stream !== true) return { status: 200, body: responseBody(turn, shell), code: 'ok' }
  return { status: 200, events: responseEvents(turn, shell), code: 'ok' }
}

function responseEvents(turn: ModelCompletion, shell: object): string[] {
  const place = { item_id: itemId(turn), output_index: 0, content_index: 0 }
  const inProgress = { ...shell, status: 'in_progress', output: [], usage: null, completed_at: null }
  const emptyItem = { ...responseItem(turn), status: 'in_progress', content: [] }
  const steps: { type: string; [field: string]: unknown }[] = [
    { type: 'response.created', response: inProgress },
    { type: 'response.in_progress', response: inProgress },
    { type: 'response.output_item.added', output_index: 0, item: emptyItem },
    { type: 'response.content_part.added', ...place, part: responsePart('') },
    ...turn.pieces.map(delta => ({ type: 'response.output_text.delta', ...place, delta, logprobs: [] })),
    { type: 'response.output_text.done', ...place, text: turn.text, logprobs: [] },
    { type: 'response.content_part.done', ...place, part: responsePart(turn.text) },
    { type: 'response.output_item.done', output_index: 0, item: responseItem(turn) },
    { type: 'response.completed', response: responseBody(turn, shell) },
  ]
  return steps.map((step, index) => serverSentEvent({ ...step, sequence_number: index }, step.type))
}

function responseHeading({ digest, createdAt, model }: ModelCompletion): object {
  return {
    id: `resp_${digest}`,
    object: 'response',
    created_at: createdAt,
    background: false,
    error: null,
    incomplete_details: null,
    max_output_tokens: null,
    metadata: {},
    model,
    parallel_tool_calls: true,
    previous_response_id: null,
    reasoning: { effort: null, summary: null },
    service_tier: 'default',
    temperature: 1,
    text: { format: { type: 'text' } },
    tool_choice: 'auto',
    tools: [],
    top_p: 1,
    truncation: 'disabled',
    user: null,
  }
}

function responseBody(turn: ModelCompletion, shell: object): object {
  const { inputTokens, outputTokens, createdAt } = turn
  return {
    ...shell,
    status: 'completed',
    completed_at: createdAt + 1,
    output: [responseItem(turn)],
    usage: {
      input_tokens: inputTokens,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: outputTokens,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: inputTokens + outputTokens,
    },
  }
}

function responseItem(turn: ModelCompletion): object {
  return { id: itemId(turn), type: 'message', status: 'completed', role: 'assistant', content: [responsePart(turn.text)] }
}

function itemId({ digest }: ModelCompletion): string {
  return `msg_${digest}`
}

function responsePart(text: string): object {
  return { type: 'output_text', text, annotations: [], logprobs: [] }
}

/** Answers `POST /anthropic/v1/messages`, JSON or stream. */
export function messagesAnswer(request: Record<string, unknown>): Answer {
  const { model, messages, max_tokens: maxTokens, system, stream } = request
  if (typeof model !== 'string') return missingField('model')
  if (!Array.isArray(messages)) return missingField('messages')
  if (typeof maxTokens !== 'number') return missingField('max_tokens')
  const turn = modelCompletion(model, system === undefined ? messages : [system, messages])
  if (stream !== true) return { status: 200, body: messageBody(turn), code: 'ok' }
  return { status: 200, events: messageEvents(turn), code: 'ok' }
}

function missingField(field: string): Answer {
  return { status: 400, body: anthropicError('invalid_request_error', `${field}: Field required`), code: 'invalid_request_error' }
}

function messageBody(turn: ModelCompletion): object {
  return {
    ...messageHeading(turn),
    content: [{ type: 'text', text: turn.text }],
    stop_reason: 'end_turn',
    stop_sequence: null,
    usage: messageUsage(turn, turn.outputTokens),
  }
}

function messageEvents(turn: ModelCompletion): string[] {
  const start = { ...messageHeading(turn), content: [], stop_reason: null, stop_sequence: null, usage: messageUsage(turn, 1) }
  const steps: { type: string; [field: string]: unknown }[] = [
    { type: 'message_start', message: start },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
    { type: 'ping' },
    ...turn.pieces.map(text => ({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } })),
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: { output_tokens: turn.outputTokens } },
    { type: 'message_stop' },
  ]
  return steps.map(step => serverSentEvent(step, step.type))
}

function messageHeading({ digest, model }: ModelCompletion): object {
  return { id: `msg_${digest}`, type: 'message', role: 'assistant', model }
}

function messageUsage({ inputTokens }: ModelCompletion, outputTokens: number): object {
  return { input_tokens: inputTokens, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: outputTokens }
}
