import { once } from 'node:events'
import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'
import { createGatewatch } from 'gatewatch'
import { requestContext, router } from 'gatewatch/express'
import { createUsers } from './users.js'

const { PROVIDER_URL, TOKEN_URL: tokenUrl, LOGIN_FILE: loginFile, API_KEY: apiKey, ADMIN_KEY, STATE, PORT = '0' } = process.env
if (!ADMIN_KEY) throw new Error('ADMIN_KEY is missing: it opens the ops page and the metrics')

const watch = await createGatewatch({
  ...(STATE && { recordIn: STATE }),
  providers: { 'openai-codex': { tokenUrl } },
  // A user is called TENANT-NAME. Metrics have a series for each tenant; spans, events and findings keep the user.
  labels: { profileGroup: id => /^openai-codex:(\w+)-/.exec(id)?.[1] ?? id },
})
const users = createUsers(watch, { apiUrl: `${PROVIDER_URL}/v1`, tokenUrl, loginFile, apiKey })
const endObservation = watch.observeProfiles(() => users.profiles())

const routes = {
  async chat({ user, body }, response) {
    send(response, 200, await users.chat(user, await body()))
  },
  async story({ user, body }, response) {
    const story = await users.stream(user, await body())
    response.setHeader('content-type', 'text/plain; charset=utf-8')
    for await (const text of story.textStream) response.write(text)
    response.end()
  },
  async summary({ user, body }, response) {
    send(response, 200, await users.summarise(user, await body()))
  },
  async quota({ user }, response) {
    send(response, 200, await users.quota(user))
  },
  async refresh({ user }, response) {
    await users.tokenOf(user, { force: true })
    send(response, 204)
  },
  async 'signed-in'({ user }, response) {
    users.signedIn(user)
    send(response, 204)
  },
  async 'sign-out'({ user }, response) {
    await users.signOut(user)
    send(response, 204)
  },
}

function send(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' }).end(body === undefined ? undefined : JSON.stringify(body))
}

// A server of node:http: what Express does for these two is a call each.
const withSpan = requestContext(watch)
const operators = router(watch, { authorize: request => request.headers.authorization === `Bearer ${ADMIN_KEY}` })

const server = createServer((request, response) => {
  const [, route = '', user = ''] = request.url.split('/')
  if (route === 'gatewatch') {
    request.url = request.url.slice('/gatewatch'.length)
    return operators(request, response, () => send(response, 404))
  }
  withSpan(request, response, async () => {
    if (!Object.hasOwn(routes, route)) return send(response, 404)
    try {
      await routes[route]({ user, body: () => json(request) }, response)
    } catch (error) {
      send(response, error.status === 401 ? 401 : 502, { error: error.message })
    }
  })
})
server.listen(Number(PORT), '127.0.0.1')
await once(server, 'listening')
process.stdout.write(`listening on ${server.address().port}\n`)

process.once('SIGTERM', async () => {
  server.close()
  await once(server, 'close')
  endObservation()
  await watch.close()
})
