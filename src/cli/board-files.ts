import { readdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { GatewayError } from '../domain/gateway-error.ts'
import { PACKAGE_FOLDER } from '../tools/own-package.ts'

/** A board that comes with the package. */
export interface BoardFile {
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
export async function readBoards(): Promise<BoardFile[]> {
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
export interface AlertPlaces {
  /** Base URL of Grafana. */
  readonly grafana?: string
  /** URL of the runbook, without the anchor. */
  readonly runbook?: string
}

/** Every file of boards and alerts by its name, the links of alerts put right. */
export async function boardFiles({ grafana, runbook }: AlertPlaces): Promise<ReadonlyMap<string, string>> {
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

export function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '')
}

function folderOf(part: string): string {
  return join(PACKAGE_FOLDER ?? '', 'dashboards', part)
}

async function entries(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort()
  } catch (cause) {
    throw new GatewayError('GW_CONFIG', `this installation of Gatewatch has no boards (${basename(folder)}): install it again`, {
      next: 'fix_configuration',
      cause,
    })
  }
}
