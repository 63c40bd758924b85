import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { SPAN_IMPORT } from '../../otel/semconv.ts'
import { IMPORT_SOURCES, type ImportSource } from '../../src/domain/enums.ts'
import { fileStore } from '../../src/store/file-store.ts'
import { type Ended, runCli } from '../cli/run-cli.ts'
import { SAMPLES } from '../importers/source-folder.ts'
import { stateFolder } from '../support/clean-up.ts'
import { startOtlpReceiver } from '../support/otlp-receiver.ts'
import { SECRETS, searchForSecrets } from './secrets.ts'

const PLACES: Readonly<Record<ImportSource, readonly [sample: string, place: string]>> = {
  openclaw: ['openclaw/auth-profiles.json', '.openclaw/agents/main/agent/auth-profiles.json'],
  codex: ['codex/chatgpt.json', '.codex/auth.json'],
  claude: ['claude/credentials.json', '.claude/.credentials.json'],
  gemini: ['gemini/oauth_creds.json', '.gemini/oauth_creds.json'],
}
/** Words by which an application knows its own file; without them nothing would be read any further. */
const KEPT = /^(?:auth_mode|type|provider|version)$/
/** Tokens by the names that the applications give them. */
const TOKENS = ['access', 'refresh', 'id_token', 'access_token', 'refresh_token', 'accessToken', 'refreshToken', 'key', 'token']

/** The file of a source with a secret in place of each text; of the texts of `only`, where that is said. */
function withSecrets(source: ImportSource, only?: readonly string[]): string {
  const secrets = Object.values(SECRETS)
  let next = 0
  const sample = JSON.parse(readFileSync(join(SAMPLES, PLACES[source][0]), 'utf8'))
  return JSON.stringify(sample, (name, value) => {
    if (typeof value !== 'string' || KEPT.test(name) || (only && !only.includes(name))) return value
    return secrets[next++ % secrets.length]
  })
}

type Content = [what: string, contentOf: (source: ImportSource) => string, isWhole?: boolean]
const CONTENTS: Content[] = [
  ['secrets for tokens', source => withSecrets(source, TOKENS), true],
  ['secrets in every field', source => withSecrets(source)],
  ['a file that breaks off in a secret', source => withSecrets(source).slice(0, -20)],
  ['nothing but secrets', () => Object.values(SECRETS).join('\n')],
  ['secrets for the names of fields', () => JSON.stringify(Object.fromEntries(Object.values(SECRETS).map(secret => [secret, secret])))],
]

describe.each(IMPORT_SOURCES)('an import from %s', source => {
  it.each<Content>(CONTENTS)(
    'of %s shows none of them: printed, exported over OTLP, recorded',
    { timeout: 60_000 },
    async (_what, contentOf, isWhole = false) => {
      const home = stateFolder()
      const state = join(home, 'state')
      const file = join(home, PLACES[source][1])
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, contentOf(source))
      const otlp = await startOtlpReceiver()
      const environment = { HOME: home, OTEL_EXPORTER_OTLP_ENDPOINT: otlp.url, SOMETHING_ELSE: SECRETS.environment }
      const run = (...parameters: string[]) => runCli([...parameters, '--state', state], { environment }).ended
      const endings: Ended[] = []
      endings.push(await run('profiles', 'import', '--from', source, '--dry-run', '--json'))
      endings.push(await run('profiles', 'import', '--from', source, '--take-ownership'))
      endings.push(await run('profiles', '--json'))
      const recorded = readdirSync(state).filter(name => name.startsWith('events'))
      await otlp.stop()

      const search = searchForSecrets()
      const stored = await storedTokens(state)
      // What can be read is taken over; what cannot is reported; no provider of Gemini is configured here.
      if (isWhole && source !== 'gemini') expect(stored.length, endings[1]?.stdout).toBeGreaterThan(0)
      for (const text of stored) search.add({ what: 'a token that was stored', text })
      expect(endings.map(({ stdout, stderr }) => (stdout + stderr).length > 0)).toEqual([true, true, expect.any(Boolean)])
      expect(search.find(endings.map(({ stdout, stderr }) => stdout + stderr).join('\n'))).toEqual([])
      expect(otlp.text().includes(SPAN_IMPORT)).toBe(true)
      expect(search.find(otlp.text())).toEqual([])
      expect(recorded.length).toBeGreaterThan(0)
      expect(search.find(recorded.map(name => readFileSync(join(state, name), 'latin1')).join('\n'))).toEqual([])
    },
  )
})

/** What came in: it is in the store, and nowhere else. */
async function storedTokens(state: string): Promise<string[]> {
  const store = fileStore(state)
  try {
    const credentials = (await store.list()).map(({ credential }) => credential as unknown as Record<string, unknown>)
    return credentials.flatMap(credential =>
      ['access', 'refresh', 'idToken', 'key', 'token'].flatMap(name => (typeof credential[name] === 'string' ? [credential[name]] : [])),
    )
  } finally {
    await store.close()
  }
}
