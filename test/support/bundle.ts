import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { rolldown } from 'rolldown'
import { afterwards } from './clean-up.ts'

export interface BundleOptions {
  /** Sources by their paths. The first one is where it begins. */
  sources: Readonly<Record<string, string>>
  /** A map beside the bundle, within it, or none. @default true */
  sourcemap?: boolean | 'inline'
  /** Packages that are not put into the bundle. */
  external?: readonly string[]
}

/** A shipped application: one minified file in a folder of its own. Removed after the test. */
export async function bundle({ sources, sourcemap = true, external = [] }: BundleOptions): Promise<{ folder: string; file: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'gatewatch-bundle-'))
  afterwards(() => rmSync(folder, { recursive: true, force: true }))
  for (const [path, source] of Object.entries(sources)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), source)
  }
  const [entry = ''] = Object.keys(sources)
  const file = join(folder, 'dist/main-Ab3dE.js')
  const built = await rolldown({ input: join(folder, entry), platform: 'node', external: [...external] })
  await built.write({ file, format: 'esm', minify: true, sourcemap })
  await built.close()
  writeFileSync(join(folder, 'package.json'), '{ "name": "the-application", "type": "module" }')
  return { folder, file }
}
