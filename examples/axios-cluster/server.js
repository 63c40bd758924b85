import cluster from 'node:cluster'
import { once } from 'node:events'
import { createServer } from 'node:http'
import express from 'express'
import { createGatewatch } from 'gatewatch'
import { requestContext, router } from 'gatewatch/express'
import { createGateway } from './gateway.js'

const { PROVIDER_URL: apiUrl, TOKEN_URL: tokenUrl, LOGIN_FILE: loginFile, API_KEY: apiKey, ADMIN_KEY, STATE, PORT = '0' } = process.env
if (!ADMIN_KEY) throw new Error('ADMIN_KEY is missing: it opens the ops page and the metrics')
const WORKERS = 2

// The primary has one too: it adds up what its workers count, and any of them answers a scrape for all.
const watch = await createGatewatch({ ...(STATE && { recordIn: STATE }), providers: { 'openai-codex': { tokenUrl } } })
await (cluster.isPrimary ? runPrimary() : runWorker())

async function runPrimary() {
  const workers = Array.from({ length: WORKERS }, () => cluster.fork())
  const [[{ port }]] = await Promise.all(workers.map(worker => once(worker, 'listening')))
  process.stdout.write(`listening on ${port}\n`)
  // Workers first: what they counted is then in the primary.
  process.once('SIGTERM', async () => {
    await Promise.all(workers.map(worker => [once(worker, 'exit'), worker.process.kill('SIGTERM')][0]))
    await watch.close()
  })
}

async function runWorker() {
  const gateway = createGateway(watch, { apiUrl, tokenUrl, loginFile, apiKey })
  const app = express()
  app.use(requestContext(watch))
  app.use('/gatewatch', router(watch, { authorize: request => request.headers.authorization === `Bearer ${ADMIN_KEY}` }))
  app.use(express.json())
  const pass = ({ status, data }, response) => response.status(status).json(data)
  app.post('/chat', async function chat(request, response) {
    pass(await gateway.chat(request.body), response)
  })
  app.post('/summary', async function summary(request, response) {
    pass(await gateway.summarise(request.body), response)
  })
  app.get('/quota', async function quota(_request, response) {
    pass(await gateway.quota(), response)
  })
  app.post('/refresh', async function refresh(_request, response) {
    await gateway.getAccessToken({ reason: 'operator' })
    response.sendStatus(204)
  })
  app.post('/signed-in', async function signedIn(_request, response) {
    gateway.signedIn()
    response.sendStatus(204)
  })
  app.post('/sign-out', async function signOut(_request, response) {
    await gateway.signOut()
    response.sendStatus(204)
  })
  app.use((error, _request, response, _next) => response.status(502).json({ error: error.message }))

  const server = createServer(app).listen(Number(PORT), '127.0.0.1')
  process.once('SIGTERM', async () => {
    server.close()
    await once(server, 'close')
    gateway.endObservation()
    await watch.close()
    cluster.worker.disconnect()
  })
}
