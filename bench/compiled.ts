import { execFile } from 'node:child_process'
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { temporaryFolder } from './watched.ts'

const THIS_TREE = fileURLToPath(new URL('../', import.meta.url))
const built = new Map<string, Promise<string>>()

/**
 * Builds the package, as for publishing, into a temporary folder; once for each tree.
 *
 * @param root Folder of the tree. @default this one
 * @returns The folder.
 */
export function builtPackage(root = THIS_TREE): Promise<string> {
  const folder = built.get(root) ?? build(root)
  built.set(root, folder)
  return folder
}

async function build(root: string): Promise<string> {
  const folder = temporaryFolder()
  const dist = join(folder, 'dist')
  const script = join(root, 'build.ts')
  // Trees from before the bundle were compiled file by file.
  const tsc = [join(root, 'node_modules/typescript/bin/tsc'), '-p', join(root, 'tsconfig.build.json'), '--noCheck', '--outDir', dist]
  await promisify(execFile)(process.execPath, existsSync(script) ? [script, dist, '--no-types'] : tsc)
  writeFileSync(join(folder, 'package.json'), '{ "name": "gatewatch", "type": "module", "version": "0.0.0" }')
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

/** URL of the preload of the package that `builtPackage` builds. */
export async function compiledRegister(root = THIS_TREE): Promise<string> {
  const file = manifestOf(root).exports['./register']?.default
  if (!file) throw new Error(`${root}package.json has no exports['./register'].default`)
  return pathToFileURL(join(await builtPackage(root), file)).href
}

/** File of the command of the package that `builtPackage` builds. */
export async function compiledCommand(root = THIS_TREE): Promise<string> {
  return join(await builtPackage(root), manifestOf(root).bin.gatewatch)
}

/** What an application imports of a built package. @param folder As `builtPackage` gives it. */
export async function libraryIn(folder: string): Promise<typeof import('../src/index.ts') & typeof import('../src/express.ts')> {
  const [library, express] = await Promise.all(
    ['index.js', 'express.js'].map(file => import(pathToFileURL(join(folder, 'dist', file)).href) as Promise<object>),
  )
  return { ...library, ...express } as Awaited<ReturnType<typeof libraryIn>>
}

interface Manifest {
  readonly bin: { readonly gatewatch: string }
  readonly exports: Readonly<Record<string, { readonly default?: string }>>
}

function manifestOf(root: string): Manifest {
  return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest
}
