import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { GatewayError } from '../domain/gateway-error.ts'
import { type AlertPlaces, boardFiles, readBoards } from './board-files.ts'
import { EXIT, type ExitCode } from './exit-code.ts'
import { Grafana } from './grafana.ts'
import type { Output } from './output.ts'

export interface ExportDashboardsOptions extends AlertPlaces {
  /** Folder to write to; made if it is not there. */
  folder: string
}

export interface InstallDashboardsOptions {
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
    throw new GatewayError('GW_CONFIG', `the environment variable ${tokenEnv} must hold the token of a service account of Grafana`, {
      next: 'fix_configuration',
    })
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
  const text = rows.map(({ uid, title, change }) => `${change.padEnd(10)} ${uid.padEnd(28)} ${title}`).join('\n')
  output.show({ grafana: url, dryRun, boards: rows }, dryRun ? `${text}\n\nNothing was changed (--dry-run).` : text)
  return EXIT.good
}
