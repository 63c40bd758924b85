import { OPENAI_REFRESH_CODES } from './openai-codex.ts'
import { openaiCompatible } from './openai-compatible.ts'
import type { Provider } from './provider.ts'
import type { ProviderSettings } from './provider-settings.ts'
import { judgeRefresh } from './refresh-judgement.ts'

/** The OpenAI API, paid by use. It has no OAuth of its own; one that is configured is judged by OpenAI's codes. */
export function openai(settings: ProviderSettings = {}): Provider {
  return {
    ...openaiCompatible({ baseUrl: 'https://api.openai.com/v1', ...settings, id: 'openai' }),
    judgeRefresh: answer => judgeRefresh(answer, OPENAI_REFRESH_CODES),
  }
}
