/**
 * The `gen_ai.*` names Gatewatch emits.
 *
 * The GenAI conventions are in development and left the core repository after 1.41; they are pinned here as published
 * in semantic conventions 1.41.0 and compared with `@opentelemetry/semantic-conventions/incubating` in a test.
 */
export const GENAI_OPERATION_NAME = 'gen_ai.operation.name'
export const GENAI_PROVIDER_NAME = 'gen_ai.provider.name'
export const GENAI_REQUEST_MODEL = 'gen_ai.request.model'
export const GENAI_REQUEST_STREAM = 'gen_ai.request.stream'
export const GENAI_TOKEN_TYPE = 'gen_ai.token.type'
export const GENAI_USAGE_INPUT_TOKENS = 'gen_ai.usage.input_tokens'
export const GENAI_USAGE_OUTPUT_TOKENS = 'gen_ai.usage.output_tokens'

export const GENAI_CLIENT_OPERATION_DURATION = 'gen_ai.client.operation.duration'
export const GENAI_CLIENT_TOKEN_USAGE = 'gen_ai.client.token.usage'

/** Bucket bounds the convention asks for, in seconds. */
export const GENAI_DURATION_BUCKETS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
/** Bucket bounds the convention asks for, in tokens. */
export const GENAI_TOKEN_BUCKETS = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864]

/** `gen_ai.operation.name` by protocol. Listing models has no name in the convention; ours follows its style. */
export const GENAI_OPERATIONS = { responses: 'chat', chat_completions: 'chat', messages: 'chat', models: 'list_models' } as const
