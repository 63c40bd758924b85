import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type Browser, chromium } from 'playwright-core'

const PROGRAMS = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
const HOW_TO_GET = 'apt-get install chromium, or name one in CHROME_PATH'

/** Where a Chromium lies: `CHROME_PATH`, or the first one on `PATH`. In CI its absence is a failure; elsewhere what needs it is skipped. */
export function chromiumPath(): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter)
  const candidates = [process.env.CHROME_PATH ?? '', ...folders.flatMap(folder => PROGRAMS.map(program => join(folder, program)))]
  const found = candidates.find(path => path !== '' && isProgram(path))
  if (found !== undefined) return found
  if (process.env.CI === 'true') throw new Error(`no Chromium: ${HOW_TO_GET}`)
  process.stderr.write(`skipped: no Chromium (${HOW_TO_GET})\n`)
  return undefined
}

/** Starts it without a window. */
export function launchChromium(executablePath: string, ...more: readonly string[]): Promise<Browser> {
  // Its sandbox does not start for root, as in most containers.
  const isRoot = process.getuid?.() === 0
  return chromium.launch({
    executablePath,
    args: [...(isRoot ? ['--no-sandbox'] : []), '--disable-dev-shm-usage', '--disable-gpu', ...more],
  })
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
