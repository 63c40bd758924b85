import OpenAI from 'openai'

/** Asks for a model's answer, not for a token. */
export const isProviderCall = true

export default {
  openai: async function askTheModel({ apiUrl }) {
    const client = new OpenAI({ apiKey: 'sk-openai', baseURL: `${apiUrl}/v1`, maxRetries: 0 })
    return (await client.responses.create({ model: 'gpt-5.5', input: 'Hello' })) && 200
  },
}
