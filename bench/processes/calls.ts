/**
 * What a wrapped provider call takes beyond the bare one, below the stack of an application, and what the middleware takes for a
 * request; as the package ships it, without an SDK. Parameters: rounds.
 */
import { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { builtPackage, libraryIn } from '../compiled.ts'
import { deepStack } from '../deep-stack.ts'
import { reportAlone } from '../isolate.ts'
import { type Spread, spread } from '../statistics.ts'

const rounds = Number(process.argv[2] ?? 11)
const CALLS = 20_000
const FRAMES = 30
const ANSWER = { status: 200, usage: { prompt_tokens: 12, completion_tokens: 345 } }

const { createGatewatch, requestContext } = await libraryIn(await builtPackage())
const watch = await createGatewatch()
const deep = await deepStack(FRAMES)
const send = async (_model: string) => ANSWER
const wrapped = watch.wrapCall(send, { provider: 'openai', profile: 'openai:work', model: model => model })
const middleware = requestContext(watch)
const next = () => undefined

class Answered extends EventEmitter {
  headersSent = true
  statusCode = 200
}

const TURNS = {
  bare: () => deep(() => send('gpt-5.5')),
  wrapped: () => deep(() => wrapped('gpt-5.5')),
  bareRequest: () => {
    const response = new Answered()
    response.on('close', next)
    next()
    response.emit('close')
  },
  request: () => {
    const response = new Answered()
    middleware({ method: 'POST', headers: {}, url: '/v1/chat' } as unknown as IncomingMessage, response as unknown as ServerResponse, next)
    response.emit('close')
  },
} as const

/** CPU time of one turn, in microseconds. */
async function costOf(turn: () => unknown): Promise<number> {
  const before = process.cpuUsage()
  for (let index = 0; index < CALLS; index += 1) await turn()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / CALLS
}

const costs: Record<keyof typeof TURNS, number[]> = { bare: [], wrapped: [], bareRequest: [], request: [] }
for (const turn of Object.values(TURNS)) await costOf(turn)
for (let round = 0; round < rounds; round += 1)
  for (const name of Object.keys(TURNS) as (keyof typeof TURNS)[]) costs[name].push(await costOf(TURNS[name]))
await watch.close()

const shown = ({ median, lower, upper }: Spread) => `${median.toFixed(2)} [${lower.toFixed(2)} to ${upper.toFixed(2)}]`
const beyond = (cost: readonly number[], base: readonly number[]) => shown(spread(cost.map((value, round) => value - (base[round] ?? 0))))
reportAlone({
  title: `Calls below ${FRAMES} frames of an application, one after the other, CPU us; medians [quartiles] of ${rounds} rounds of ${CALLS}`,
  rows: [
    ['the bare call', shown(spread(costs.bare))],
    ['a wrapped call beyond it', beyond(costs.wrapped, costs.bare)],
    ['the middleware for a request', beyond(costs.request, costs.bareRequest)],
  ],
})
