import { type Answer, openAiError, serverSentEvent } from './answer.ts'
import { type ModelCompletion, modelCompletion } from './model-completion.ts'

/** Answers `POST /v1/chat/completions`, JSON or stream. */
export function chatCompletion(request: Record<string, unknown>): Answer {
  const { model, messages, stream, stream_options: streamOptions } = request
  if (typeof model !== 'string') return missing('model')
  if (!Array.isArray(messages)) return missing('messages')
  const turn = modelCompletion(model, messages)
  if (stream !== true) return { status: 200, body: completion(turn), code: 'ok' }
  const includeUsage = (streamOptions as { include_usage?: unknown } | undefined)?.include_usage === true
  return { status: 200, events: chunks(turn, includeUsage), code: 'ok' }
}

/** The OpenAI answer to a request that lacks a field. */
export function missing(param: string): Answer {
  const code = 'missing_required_parameter'
  return { status: 400, body: openAiError(code, `Missing required parameter: '${param}'.`, { param }), code }
}

function completion(turn: ModelCompletion): object {
  return {
    ...heading(turn, 'chat.completion'),
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: turn.text, refusal: null, annotations: [] },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: usage(turn),
  }
}

function chunks(turn: ModelCompletion, includeUsage: boolean): string[] {
  // With include_usage every chunk but the last says `usage: null`, and the last one has no choices.
  const chunk = (choices: object[], counted: object | null = null) =>
    serverSentEvent({ ...heading(turn, 'chat.completion.chunk'), choices, ...(includeUsage ? { usage: counted } : {}) })
  const choice = (delta: object, finishReason: string | null = null) => [{ index: 0, delta, logprobs: null, finish_reason: finishReason }]
  return [
    chunk(choice({ role: 'assistant', content: '', refusal: null })),
    ...turn.pieces.map(content => chunk(choice({ content }))),
    chunk(choice({}, 'stop')),
    ...(includeUsage ? [chunk([], usage(turn))] : []),
    serverSentEvent('[DONE]'),
  ]
}

function heading({ digest, createdAt, model }: ModelCompletion, object: string): object {
  return { id: `chatcmpl-${digest}`, object, created: createdAt, model, service_tier: 'default', system_fingerprint: 'fp_simulated' }
}

function usage({ inputTokens, outputTokens }: ModelCompletion): object {
  return {
    prompt_tokens: inputTokens,
    completion_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0, accepted_prediction_tokens: 0, rejected_prediction_tokens: 0 },
  }
}
