/**
 * The bare pass-through that everything is measured against: Express and undici as one would write it by hand, with a
 * key put in and nothing recorded.
 *
 * Parameters: the upstream's URL.
 */
import { pipeline } from 'node:stream'
import express from 'express'
import { Agent, request as send } from 'undici'
import { listen } from './listen.ts'

const [upstreamUrl = ''] = process.argv.slice(2)
const NOT_RETURNED = new Set(['connection', 'keep-alive', 'transfer-encoding'])

// Without one of its own, undici may find itself on the older copy that Node brings along.
const dispatcher = new Agent()

const app = express()
app.disable('x-powered-by')
app.disable('etag')
app.post('/v1/chat/completions', express.raw({ type: () => true, limit: '32mb' }), async (request, response) => {
  const answer = await send(`${upstreamUrl}/v1/chat/completions`, {
    method: 'POST',
    dispatcher,
    headers: {
      'content-type': request.headers['content-type'] ?? 'application/json',
      accept: request.headers.accept ?? '*/*',
      authorization: 'Bearer key-of-the-gateway',
    },
    body: request.body as Buffer,
  })
  const headers = Object.entries(answer.headers).filter(([name, value]) => value !== undefined && !NOT_RETURNED.has(name))
  response.writeHead(answer.statusCode, Object.fromEntries(headers))
  // A client that leaves early ends both sides; no client is left to answer.
  pipeline(answer.body, response, () => undefined)
})
listen(app)
