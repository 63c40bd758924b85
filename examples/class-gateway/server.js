import { once } from 'node:events'
import { createServer } from 'node:http'
import { pipeline } from 'node:stream/promises'
import express from 'express'
import { createGatewatch } from 'gatewatch'
import { requestContext, router } from 'gatewatch/express'
import { Gateway } from './gateway.js'
import { LoginFile } from './login-file.js'

const { PROVIDER_URL: apiUrl, TOKEN_URL: tokenUrl, LOGIN_FILE, API_KEY: apiKey, ADMIN_KEY, STATE, PORT = '0' } = process.env
if (!ADMIN_KEY) throw new Error('ADMIN_KEY is missing: it opens the ops page and the metrics')

const watch = await createGatewatch({
  ...(STATE && { recordIn: STATE }),
  providers: { 'openai-codex': { tokenUrl } },
})
const gateway = new Gateway(watch, { store: new LoginFile(LOGIN_FILE), apiUrl, tokenUrl, apiKey })
const endObservation = watch.observeProfiles(() => gateway.profiles())

const app = express()
app.use(requestContext(watch))
app.use('/gatewatch', router(watch, { authorize: request => request.headers.authorization === `Bearer ${ADMIN_KEY}` }))
app.use(express.json())

// Functions with a name: it is what telemetry calls the caller.
app.post('/chat', async function chat(request, response) {
  await pass(await gateway.chat(request.body), response)
})
app.post('/summary', async function summary(request, response) {
  await pass(await gateway.summarise(request.body), response)
})
app.get('/quota', async function quota(_request, response) {
  await pass(await gateway.quota(), response)
})
app.post('/refresh', async function refresh(_request, response) {
  await gateway.getAccessToken({ force: true })
  response.sendStatus(204)
})
app.post('/signed-in', (_request, response) => {
  gateway.signedIn()
  response.sendStatus(204)
})
app.post('/sign-out', async function signOut(_request, response) {
  await gateway.signOut()
  response.sendStatus(204)
})
app.use((error, _request, response, _next) => response.status(502).json({ error: error.message }))

const server = createServer(app)
server.listen(Number(PORT), '127.0.0.1')
await once(server, 'listening')
process.stdout.write(`listening on ${server.address().port}\n`)

// First no new request, then the end of those under way, then Gatewatch: what they recorded is written.
process.once('SIGTERM', async () => {
  server.close()
  await once(server, 'close')
  endObservation()
  await watch.close()
})

function pass(answer, response) {
  response.status(answer.status).set('content-type', answer.headers.get('content-type') ?? 'text/plain')
  return answer.body ? pipeline(answer.body, response) : response.end()
}
