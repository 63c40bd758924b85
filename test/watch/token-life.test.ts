import { describe, expect, it } from 'vitest'
import { ATTR_EXPIRES_IN_REPAIRED } from '../../otel/semconv.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { APPLICATION, spansIn, startNode, watchingEnvironment } from './watched.ts'

describe('the life of a token as a watched application receives it', () => {
  it.each(['zero', 'string', 'milliseconds', 'missing'] as const)('as %s is on the span of its refresh', async expiresIn => {
    const { attributes } = await refreshedWith({ expiresIn })
    expect(attributes[ATTR_EXPIRES_IN_REPAIRED]).toBe(expiresIn)
  })

  it('in seconds needs no word', async () => {
    expect((await refreshedWith({})).attributes).not.toHaveProperty(ATTR_EXPIRES_IN_REPAIRED)
  })
})

/** The span of a refresh by an unmodified application, whose token endpoint behaves so. */
async function refreshedWith(fault: { expiresIn?: 'zero' | 'string' | 'milliseconds' | 'missing' }) {
  const simulator = await startSimulator()
  afterwards(() => simulator.stop())
  simulator.inject({ where: 'token', ...fault })
  const { access, refresh } = simulator.grantFor({ provider: 'openai-codex', account: 'acct-life' })
  const state = stateFolder()
  const job = { url: simulator.url + TOKEN_PATHS.openai, tokens: { access, refresh }, steps: [['gate']] } as const
  await startNode([APPLICATION, JSON.stringify(job)], watchingEnvironment(state, job)).ended
  const [span] = spansIn(state)
  if (!span) throw new RangeError('nothing was recorded')
  return span
}
