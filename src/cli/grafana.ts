import { isDeepStrictEqual } from 'node:util'
import { GatewayError } from '../domain/gateway-error.ts'
import { type BoardFile, withoutSlash } from './board-files.ts'

export interface GrafanaOptions {
  /** Base URL. */
  readonly url: string
  /** Token of a service account that may write dashboards. */
  readonly token: string
}

/** What became of a board, or would become of it. */
export type BoardChange = 'created' | 'updated' | 'unchanged'

const FOLDER = { uid: 'gatewatch', title: 'Gatewatch' }
const TAG = 'gatewatch'
const TIMEOUT_MS = 15_000

interface FindingDraft {
  readonly dashboard: Readonly<Record<string, unknown>> & { readonly title?: string; readonly tags?: readonly string[] }
  readonly meta?: { readonly folderUid?: string; readonly provisioned?: boolean }
}

/** Grafana's HTTP API, as far as the installation of boards needs it. */
export class Grafana {
  readonly #options: GrafanaOptions

  constructor(options: GrafanaOptions) {
    this.#options = options
  }

  /** Makes the folder of the boards if it is not there. */
  async ensureFolder(): Promise<void> {
    const found = await this.#ask('GET', `/api/folders/${FOLDER.uid}`)
    if (found === undefined) await this.#ask('POST', '/api/folders', FOLDER)
  }

  /**
   * Says what installing a board would change.
   *
   * @throws {GatewayError} `GW_CONFIG` when the uid belongs to a board that is not ours, or one that a file provisions.
   */
  async compare({ uid, board }: BoardFile): Promise<BoardChange> {
    const found = (await this.#ask('GET', `/api/dashboards/uid/${uid}`)) as FindingDraft | undefined
    if (!found) return 'created'
    const { dashboard, meta } = found
    if (!dashboard.tags?.includes(TAG))
      throw refused(`the uid ${uid} belongs to ${JSON.stringify(dashboard.title)}, which is not a board of Gatewatch; nothing was changed`)
    if (meta?.provisioned) throw refused(`the board ${uid} is provisioned from a file of that Grafana; change the file instead`)
    const { id: _id, version: _version, ...there } = dashboard
    return isDeepStrictEqual(there, board) && meta?.folderUid === FOLDER.uid ? 'unchanged' : 'updated'
  }

  /** Installs a board over the one with its uid. Call `compare` first: it knows whose that is. */
  async install({ board }: BoardFile, message: string): Promise<void> {
    await this.#ask('POST', '/api/dashboards/db', { dashboard: { ...board, id: null }, folderUid: FOLDER.uid, overwrite: true, message })
  }

  /** @returns `undefined` for what is not there. */
  async #ask(method: 'GET' | 'POST', path: string, body?: unknown): Promise<unknown> {
    const url = withoutSlash(this.#options.url) + path
    const answer = await fetch(url, {
      method,
      // The token must not follow to another host.
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT_MS),
      headers: { authorization: `Bearer ${this.#options.token}`, 'content-type': 'application/json', accept: 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    }).catch((cause: unknown) => {
      throw new GatewayError('GW_UPSTREAM', `no Grafana answers at ${this.#options.url}`, { next: 'check_network', cause })
    })
    if (answer.ok) return answer.json()
    await answer.body?.cancel()
    if (answer.status === 404 && method === 'GET') return undefined
    if (answer.status === 401 || answer.status === 403)
      throw new GatewayError(
        'GW_UNAUTHORIZED',
        `Grafana answers ${answer.status} to ${path}: the token may not read and write dashboards`,
        {
          next: 'fix_configuration',
        },
      )
    throw new GatewayError('GW_UPSTREAM', `Grafana answers ${answer.status} to ${method} ${path}`, { next: 'try_again_later' })
  }
}

function refused(message: string): GatewayError {
  return new GatewayError('GW_CONFIG', message, { next: 'fix_configuration' })
}
