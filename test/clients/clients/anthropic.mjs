import Anthropic from '@anthropic-ai/sdk'

/** Asks for a model's answer, not for a token. */
export const isProviderCall = true

export default {
  '@anthropic-ai/sdk': async function askTheModel({ apiUrl }) {
    const client = new Anthropic({ apiKey: 'sk-anthropic', baseURL: `${apiUrl}/anthropic`, maxRetries: 0 })
    const messages = [{ role: 'user', content: 'Hello' }]
    return (await client.messages.create({ model: 'claude-sonnet-5', max_tokens: 16, messages })) && 200
  },
}
