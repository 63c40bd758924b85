import { readFileSync } from 'node:fs'

/** The version of this package; its file lies two folders up in the sources and three in what is published. */
export function packageVersion(): string {
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { name?: string; version?: string }
      if (name === 'gatewatch' && version) return version
    } catch {
      // Not there: the other place has it.
    }
  }
  return '0.0.0'
}
