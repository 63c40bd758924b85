/**
 * A route of an application that passes its request on to a provider, below a stack of 30 frames; with parts of Gatewatch or without.
 *
 * Parameters: the upstream's URL, `route`, `middleware` or `wrapped`, and the folder of the built package.
 */
import { pipeline } from 'node:stream'
import express from 'express'
import { Agent, request as send } from 'undici'
import { libraryIn } from '../compiled.ts'
import { deepStack } from '../deep-stack.ts'
import type { EmbedContestantId } from '../embedded.ts'
import { listen } from './listen.ts'

const [upstreamUrl = '', mode, folder = ''] = process.argv.slice(2) as [string?, EmbedContestantId?, string?]
const FRAMES = 30

const { createGatewatch, requestContext } = await libraryIn(folder)
// Loaded and started everywhere, so that what is compared is the work for a request.
const watch = await createGatewatch()
const deep = await deepStack(FRAMES)
const dispatcher = new Agent()

const callProvider = async (body: Buffer, type: string) =>
  await send(`${upstreamUrl}/v1/chat/completions`, {
    method: 'POST',
    dispatcher,
    headers: { 'content-type': type, authorization: 'Bearer key-of-the-application' },
    body,
  })
const call =
  mode === 'wrapped' ? watch.wrapCall(callProvider, { provider: 'openai', profile: 'openai:work', model: 'gpt-5.5' }) : callProvider

const app = express()
app.disable('x-powered-by')
app.disable('etag')
if (mode === 'middleware') app.use(requestContext(watch))
app.post('/v1/chat/completions', express.raw({ type: () => true, limit: '32mb' }), async (request, response) => {
  const answer = await deep(() => call(request.body as Buffer, request.headers['content-type'] ?? 'application/json'))
  response.writeHead(answer.statusCode, { 'content-type': String(answer.headers['content-type']) })
  pipeline(answer.body, response, () => undefined)
})
listen(app)
