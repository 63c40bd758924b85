import { type Answer, serverSentEvent } from './answer.ts'
import { missing } from './chat-completion.ts'
import { type ModelCompletion, modelCompletion } from './model-completion.ts'

/** Answers `POST /v1/responses` and the ChatGPT backend's `POST /backend-api/codex/responses`, JSON or stream. */
export function responsesAnswer(request: Record<string, unknown>): Answer {
  const { model, input, instructions, store, stream } = request
  if (typeof model !== 'string') return missing('model')
  if (typeof input !== 'string' && !Array.isArray(input)) return missing('input')
  const turn = modelCompletion(model, instructions === undefined || instructions === null ? input : [instructions, input])
  const shell = { ...heading(turn), instructions: typeof instructions === 'string' ? instructions : null, store: store !== false }
  if (stream !== true) return { status: 200, body: finished(turn, shell), code: 'ok' }
  return { status: 200, events: events(turn, shell), code: 'ok' }
}

function events(turn: ModelCompletion, shell: object): string[] {
  const place = { item_id: itemId(turn), output_index: 0, content_index: 0 }
  const inProgress = { ...shell, status: 'in_progress', output: [], usage: null, completed_at: null }
  const emptyItem = { ...item(turn), status: 'in_progress', content: [] }
  const steps: { type: string; [field: string]: unknown }[] = [
    { type: 'response.created', response: inProgress },
    { type: 'response.in_progress', response: inProgress },
    { type: 'response.output_item.added', output_index: 0, item: emptyItem },
    { type: 'response.content_part.added', ...place, part: part('') },
    ...turn.pieces.map(delta => ({ type: 'response.output_text.delta', ...place, delta, logprobs: [] })),
    { type: 'response.output_text.done', ...place, text: turn.text, logprobs: [] },
    { type: 'response.content_part.done', ...place, part: part(turn.text) },
    { type: 'response.output_item.done', output_index: 0, item: item(turn) },
    { type: 'response.completed', response: finished(turn, shell) },
  ]
  return steps.map((step, index) => serverSentEvent({ ...step, sequence_number: index }, step.type))
}

function heading({ digest, createdAt, model }: ModelCompletion): object {
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

function finished(turn: ModelCompletion, shell: object): object {
  const { inputTokens, outputTokens, createdAt } = turn
  return {
    ...shell,
    status: 'completed',
    completed_at: createdAt + 1,
    output: [item(turn)],
    usage: {
      input_tokens: inputTokens,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: outputTokens,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: inputTokens + outputTokens,
    },
  }
}

function item(turn: ModelCompletion): object {
  return { id: itemId(turn), type: 'message', status: 'completed', role: 'assistant', content: [part(turn.text)] }
}

function itemId({ digest }: ModelCompletion): string {
  return `msg_${digest}`
}

function part(text: string): object {
  return { type: 'output_text', text, annotations: [], logprobs: [] }
}
