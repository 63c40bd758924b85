import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { configError, GatewayError } from '../domain/gateway-error.ts'
import { PACKAGE_FOLDER } from '../tools/own-package.ts'
import { EXIT, type ExitCode, type Output, textTable } from './output.ts'

interface ExportDashboardsOptions extends AlertPlaces {
  /** Folder to write to; made if it is not there. */
  folder: string
}

interface InstallDashboardsOptions {
  /** Base URL of Grafana. */
  grafana: string
  /** Environment variable that holds the token of a service account. */
  tokenEnv: string
  /** Says what would change, and changes nothing. */
  dryRun?: boolean
}

/** `gatewatch dashboards export FOLDER`: writes boards, alert rules and runbook. */
export async function exportDashboardsCommand({ folder, ...places }: ExportDashboardsOptions, output: Output): Promise<ExitCode> {
  const files = await boardFiles(places)
  try {
    await mkdir(folder, { recursive: true })
    for (const [name, content] of files) await writeFile(join(folder, name), content)
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
    throw new GatewayError('GW_CONFIG', `${folder}: cannot be written (${why})`, { next: 'fix_permissions', cause })
  }
  output.show({ folder, files: [...files.keys()] }, [...files.keys()].map(name => join(folder, name)).join('\n'))
  return EXIT.good
}

/**
 * `gatewatch dashboards install --grafana URL`: puts the boards into a folder of their own. Boards that are not ours are
 * never overwritten, whatever uid they have: all are looked at before the first is changed.
 */
export async function installDashboardsCommand(
  { grafana: url, tokenEnv, dryRun = false }: InstallDashboardsOptions,
  output: Output,
): Promise<ExitCode> {
  const token = process.env[tokenEnv]
  if (!token) {
    throw configError(`the environment variable ${tokenEnv} must hold the token of a service account of Grafana`)
  }
  const grafana = new Grafana({ url, token })
  const boards = await readBoards()
  const plan = []
  for (const board of boards) plan.push({ board, change: await grafana.compare(board) })
  if (!dryRun) {
    await grafana.ensureFolder()
    for (const { board, change } of plan) if (change !== 'unchanged') await grafana.install(board, 'gatewatch dashboards install')
  }
  const rows = plan.map(({ board: { uid, title }, change }) => ({ uid, title, change }))
  const text = textTable(
    ['change', 'board', 'title'],
    rows.map(({ uid, title, change }) => [change, uid, title]),
  )
  output.show({ grafana: url, dryRun, boards: rows }, dryRun ? `${text}\n\nNothing was changed (--dry-run).` : text)
  return EXIT.good
}

/** A board that comes with the package. */
interface BoardFile {
  /** Name of its file. */
  readonly name: string
  readonly uid: string
  readonly title: string
  /** The whole, as Grafana reads it. */
  readonly board: Readonly<Record<string, unknown>>
}

const RULES = 'gatewatch.rules.yml'
const RUNBOOK = 'runbook.md'

/** The boards of this package, by their titles. @throws {GatewayError} `GW_CONFIG` when the package lacks them. */
async function readBoards(): Promise<BoardFile[]> {
  const names = (await entries(folderOf('generated'))).filter(name => name.endsWith('.json'))
  const boards = await Promise.all(
    names.map(async name => {
      const board = JSON.parse(await readFile(join(folderOf('generated'), name), 'utf8')) as BoardFile['board']
      return { name, uid: String(board.uid), title: String(board.title), board }
    }),
  )
  return boards.sort((a, b) => a.title.localeCompare(b.title))
}

/** Where the links of alerts should lead. */
interface AlertPlaces {
  /** Base URL of Grafana. */
  readonly grafana?: string
  /** URL of the runbook, without the anchor. */
  readonly runbook?: string
}

/** Every file of boards and alerts by its name, with the given links in the alerts. */
async function boardFiles({ grafana, runbook }: AlertPlaces): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>()
  for (const name of await entries(folderOf('generated'))) {
    if (name.endsWith('.json')) files.set(name, await readFile(join(folderOf('generated'), name), 'utf8'))
  }
  let rules = await readFile(join(folderOf('generated'), RULES), 'utf8')
  if (grafana !== undefined) rules = rules.replace(/(dashboard_url: ")[^"]*?(\/d\/)/g, (_, key, path) => key + withoutSlash(grafana) + path)
  if (runbook !== undefined) rules = rules.replace(/(runbook_url: ")[^"#]*(#)/g, (_, key, hash) => key + runbook + hash)
  files.set(RULES, rules)
  files.set(RUNBOOK, await readFile(join(folderOf(''), RUNBOOK), 'utf8'))
  return files
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '')
}

function folderOf(part: string): string {
  return join(PACKAGE_FOLDER ?? '', 'dashboards', part)
}

async function entries(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort()
  } catch (cause) {
    throw configError(`this installation of Gatewatch has no boards (${basename(folder)}): install it again`, cause)
  }
}

interface GrafanaOptions {
  /** Base URL. */
  readonly url: string
  /** Token of a service account that may write dashboards. */
  readonly token: string
}

/** The change to a board, made or planned. */
type BoardChange = 'created' | 'updated' | 'unchanged'

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
      throw configError(
        `the uid ${uid} belongs to ${JSON.stringify(dashboard.title)}, which is not a board of Gatewatch; nothing was changed`,
      )
    if (meta?.provisioned) throw configError(`the board ${uid} is provisioned from a file of that Grafana; change the file instead`)
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
