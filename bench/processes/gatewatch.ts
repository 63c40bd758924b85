/**
 * Gatewatch as `serve` runs it: an OAuth profile with a usable token in a file store, so that every call goes through
 * store and gate, and telemetry as the environment says.
 *
 * Parameters: the upstream's URL.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startStandaloneSdk } from '../../otel/sdk/sdk.ts'
import { startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { serveGatewatch } from '../../src/server/server.ts'
import { fileStore } from '../../src/store/file-store.ts'
import { reportReady } from './listen.ts'

const [upstreamUrl = ''] = process.argv.slice(2)
const ONE_DAY_MS = 86_400_000

const folder = mkdtempSync(join(tmpdir(), 'gatewatch-bench-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))

const store = fileStore(folder)
const now = Date.now()
await store.change('bench:default', () => ({
  id: 'bench:default',
  provider: 'bench',
  credential: {
    type: 'oauth',
    access: 'access-token-of-the-benchmark',
    refresh: 'refresh-token-of-the-benchmark',
    issuedAt: now,
    expiresAt: now + ONE_DAY_MS,
    generation: 1,
  },
}))
const gatewatch = await startGatewatch({
  store,
  startTelemetry: startStandaloneSdk,
  processRole: 'gateway',
  listen: { port: 0 },
  providers: { bench: { baseUrl: `${upstreamUrl}/v1`, tokenUrl: `${upstreamUrl}/oauth/token`, clientId: 'bench' } },
})
const { url } = await serveGatewatch(gatewatch)
reportReady(url)
