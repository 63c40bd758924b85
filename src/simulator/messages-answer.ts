import { type Answer, anthropicError, serverSentEvent } from './answer.ts'
import { type ModelCompletion, modelCompletion } from './model-completion.ts'

/** Answers `POST /anthropic/v1/messages`, JSON or stream. */
export function messagesAnswer(request: Record<string, unknown>): Answer {
  const { model, messages, max_tokens: maxTokens, system, stream } = request
  if (typeof model !== 'string') return lacking('model')
  if (!Array.isArray(messages)) return lacking('messages')
  if (typeof maxTokens !== 'number') return lacking('max_tokens')
  const turn = modelCompletion(model, system === undefined ? messages : [system, messages])
  if (stream !== true) return { status: 200, body: message(turn), code: 'ok' }
  return { status: 200, events: events(turn), code: 'ok' }
}

function lacking(field: string): Answer {
  return { status: 400, body: anthropicError('invalid_request_error', `${field}: Field required`), code: 'invalid_request_error' }
}

function message(turn: ModelCompletion): object {
  return {
    ...heading(turn),
    content: [{ type: 'text', text: turn.text }],
    stop_reason: 'end_turn',
    stop_sequence: null,
    usage: usage(turn, turn.outputTokens),
  }
}

function events(turn: ModelCompletion): string[] {
  const start = { ...heading(turn), content: [], stop_reason: null, stop_sequence: null, usage: usage(turn, 1) }
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

function heading({ digest, model }: ModelCompletion): object {
  return { id: `msg_${digest}`, type: 'message', role: 'assistant', model }
}

function usage({ inputTokens }: ModelCompletion, outputTokens: number): object {
  return { input_tokens: inputTokens, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: outputTokens }
}
