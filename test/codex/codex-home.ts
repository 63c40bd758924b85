import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Grant } from '../../src/simulator/grants.ts'
import type { Exit } from '../support/child-process.ts'
import { afterwards } from '../support/clean-up.ts'
import { runToItsEnd } from '../support/process-group.ts'

/** The tokens of a ChatGPT login as the Codex CLI keeps them. */
export interface CodexTokens {
  readonly id_token: string
  readonly access_token: string
  readonly refresh_token: string
  readonly account_id: string
}

export interface CodexHomeOptions {
  /** The script that starts the Codex CLI. */
  codex: string
  /** The gateway it is pointed at. */
  gatewayUrl: string
  /** A ChatGPT login of its own; its tokens go along with each request, and are refreshed at the gateway. */
  login?: Grant
  /**
   * How it is pointed there: by a model provider of its own, or in its default form, by the base URL of the built-in one,
   * which tries a WebSocket first. @default 'model_provider'
   */
  by?: 'model_provider' | 'openai_base_url'
}

const LONGEST_RUN_MS = 60_000

/** A home of the Codex CLI in a temporary folder, which is pointed at a gateway. Gone after the test. */
export class CodexHome {
  readonly #folder = mkdtempSync(join(tmpdir(), 'gatewatch-codex-'))
  readonly #options: CodexHomeOptions

  constructor(options: CodexHomeOptions) {
    this.#options = options
    const { login } = options
    afterwards(() => rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 }))
    const config = ['model = "gpt-5.5"', ...(options.by === 'openai_base_url' ? builtInProvider(options) : ownProvider(options))]
    writeFileSync(join(this.#folder, 'config.toml'), config.join('\n'))
    if (login) this.#signIn(login)
  }

  /** The tokens it holds now. */
  tokens(): CodexTokens {
    return JSON.parse(readFileSync(this.#authFile(), 'utf8')).tokens
  }

  /** `codex exec`: one turn in a process of its own. */
  turn(): Promise<Exit> {
    const { codex, gatewayUrl, login } = this.#options
    const parameters = [codex, 'exec', '--skip-git-repo-check', '--sandbox', 'read-only', 'say hi']
    // Nothing else of this environment: it may hold keys, and proxies of its own.
    const environment = {
      PATH: process.env.PATH,
      HOME: this.#folder,
      CODEX_HOME: this.#folder,
      ...(login && { CODEX_REFRESH_TOKEN_URL_OVERRIDE: `${gatewayUrl}/oauth/openai-codex/token` }),
    }
    return runToItsEnd(parameters, { cwd: this.#folder, env: environment, longestMs: LONGEST_RUN_MS })
  }

  #signIn({ idToken: id_token, access: access_token, refresh: refresh_token, account: account_id }: Grant): void {
    const tokens: CodexTokens = { id_token, access_token, refresh_token, account_id }
    const auth = { OPENAI_API_KEY: null, auth_mode: 'chatgpt', tokens, last_refresh: new Date().toISOString() }
    writeFileSync(this.#authFile(), JSON.stringify(auth), { mode: 0o600 })
  }

  #authFile(): string {
    return join(this.#folder, 'auth.json')
  }
}

/** The settings of docs/clients.md. */
function ownProvider({ gatewayUrl, login }: CodexHomeOptions): string[] {
  return [
    'model_provider = "gatewatch"',
    '[model_providers.gatewatch]',
    'name = "Gatewatch"',
    `base_url = "${gatewayUrl}/v1"`,
    'wire_api = "responses"',
    'supports_websockets = false',
    'request_max_retries = 0',
    'stream_max_retries = 0',
    ...(login ? ['requires_openai_auth = true'] : []),
  ]
}

function builtInProvider({ gatewayUrl }: CodexHomeOptions): string[] {
  return [`openai_base_url = "${gatewayUrl}/v1"`]
}
