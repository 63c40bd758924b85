import OpenAI from 'openai'

/** Asks for a model's answer, not for a token. */
export const isProviderCall = true

export default {
  openai: async function askTheModel({ apiUrl, apiKey }) {
    const client = new OpenAI({ apiKey, baseURL: `${apiUrl}/v1`, maxRetries: 0 })
    return (await client.responses.create({ model: 'gpt-5.5', input: 'Hello' })) && 200
  },
}
