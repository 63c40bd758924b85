import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { BOARDS } from '../../dashboards/boards.ts'
import { BOARD_UIDS } from '../../dashboards/links.ts'
import { ROOT } from '../house/source-files.ts'

export const GENERATED = join(ROOT, 'dashboards', 'generated')

/** A board as Grafana reads it, as far as the tests look at it. */
export interface BoardFile {
  readonly uid: string
  readonly title: string
  readonly description: string
  readonly schemaVersion: number
  readonly tags: readonly string[]
  readonly links: readonly { readonly asDropdown: boolean; readonly keepTime: boolean; readonly includeVars: boolean }[]
  readonly templating: { readonly list: readonly VariableFile[] }
  readonly panels: readonly PanelFile[]
}

export interface VariableFile {
  readonly name: string
  readonly type: string
  readonly allValue?: string
  readonly refresh?: number
  readonly query?: string | { readonly query: string }
}

export interface PanelFile {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly datasource?: { readonly uid: string }
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets?: readonly TargetFile[]
  readonly fieldConfig?: {
    readonly defaults: {
      readonly noValue?: string
      readonly unit?: string
      readonly thresholds?: { readonly steps: readonly { value: number | null; color: string }[] }
    }
  }
}

export interface TargetFile {
  readonly refId: string
  readonly expr?: string
  readonly query?: string
  readonly legendFormat?: string
  readonly instant?: boolean
  readonly exemplar?: boolean
  readonly format?: string
  readonly datasource: { readonly type: string; readonly uid: string }
}

/** The boards as they are committed. */
export function readBoards(): BoardFile[] {
  return BOARDS.map(({ key }) => JSON.parse(readFileSync(join(GENERATED, `${BOARD_UIDS[key]}.json`), 'utf8')) as BoardFile)
}

/** Panels that show something; rows are only titles. */
export function shownPanels({ panels }: BoardFile): PanelFile[] {
  return panels.filter(({ type }) => type !== 'row')
}
