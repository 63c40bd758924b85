import { expect } from 'vitest'
import { describeStyle } from './acceptance.ts'

const USERS = ['acme-ann', 'acme-bob', 'globex-cy']

describeStyle({
  name: 'many-users',
  accounts: USERS,
  path: (route, user) => `${route}/${user}`,
  callers: {
    bypass: 'users.js#quota',
    fallback: 'users.js#fallBack',
    retries: 'users.js#summarise',
    refresh: 'server.js#refresh',
  },
  async also(example) {
    const story = await example.post('/story/globex-cy', { model: 'gpt-5.5', prompt: 'hello' })
    expect({ status: story.status, text: await story.text() }).toMatchObject({ status: 200, text: expect.stringMatching(/\w/) })
  },
  expectMetrics(metrics) {
    expect(metrics).toMatch(/^gatewatch_attempt_duration_seconds_count\{[^}]*profile="acme"/m)
    for (const user of USERS) expect(metrics).not.toContain(user)
  },
})
