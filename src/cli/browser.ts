import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

const OPENERS: Readonly<Partial<Record<NodeJS.Platform, string>>> = { darwin: 'open', linux: 'xdg-open' }

/** Opens an address in the browser of this machine, and waits for nothing. @returns Whether there was a way to. */
export function openInBrowser(url: string): boolean {
  const opener = OPENERS[process.platform]
  const folder = opener && (process.env.PATH ?? '').split(delimiter).find(candidate => isProgram(join(candidate, opener)))
  if (!opener || folder === undefined) return false
  spawn(join(folder, opener), [url], { stdio: 'ignore', detached: true })
    .once('error', () => undefined)
    .unref()
  return true
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
