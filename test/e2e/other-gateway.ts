import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Grant } from '../../src/simulator/grants.ts'
import type { Simulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { bareEnvironment } from '../support/child-environment.ts'

/** The gateway of another caller's making, before and after it took Gatewatch in. */
export const FOLDER = fileURLToPath(new URL('../fixtures/other-gateway/', import.meta.url))
export type Version = 'before.mjs' | 'after.mjs'

export interface OtherGateway {
  /** What the model answers through it. */
  chat(account: string): Promise<Response>
  /** The second code path, which refreshes on its own. */
  quota(account: string): Promise<Response>
  /** Everything it printed, to either stream. */
  output(): string
  stop(): Promise<void>
}

export function source(version: Version): string {
  return readFileSync(join(FOLDER, version), 'utf8')
}

/** Runs a version as a process of its own; `import 'gatewatch'` finds the sources, as it finds `dist` where it is installed. */
export async function startOtherGateway(
  version: Version,
  { simulator, grants, environment = {} }: { simulator: Simulator; grants: Record<string, Grant>; environment?: NodeJS.ProcessEnv },
): Promise<OtherGateway> {
  const folder = mkdtempSync(join(tmpdir(), 'other-gateway-'))
  const file = join(folder, 'accounts.json')
  const accounts = Object.entries(grants).map(([id, { access, refresh, expiresAt }]) => [id, { id, access, refresh, expires: expiresAt }])
  writeFileSync(file, JSON.stringify(Object.fromEntries(accounts)), { mode: 0o600 })
  const child = spawn(process.execPath, ['--conditions=gatewatch-source', '--import=./telemetry.mjs', version], {
    cwd: FOLDER,
    env: bareEnvironment({
      ACCOUNTS_FILE: file,
      TOKEN_URL: simulator.url + TOKEN_PATHS.openai,
      MODEL_URL: `${simulator.url}/v1/chat/completions`,
      ...environment,
    }),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  const keep = (chunk: Buffer) => {
    output += chunk.toString()
  }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  const ended = new Promise<void>(resolve => child.on('close', () => resolve()))
  const stop = async () => {
    child.kill()
    await ended
    rmSync(folder, { recursive: true, force: true })
  }
  for await (const line of createInterface({ input: child.stdout })) {
    const port = /^listening on (\d+)$/.exec(line)?.[1]
    if (!port) continue
    const url = `http://127.0.0.1:${port}`
    return {
      chat: account => fetch(`${url}/chat/${account}`, { method: 'POST', body: JSON.stringify({ model: 'gpt-5.5', messages: [] }) }),
      quota: account => fetch(`${url}/quota/${account}`),
      output: () => output,
      stop,
    }
  }
  await stop()
  throw new Error(`${version} ended before it listened: ${output}`)
}
