import { execFile } from 'node:child_process'
import { existsSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { registerOf, temporaryFolder } from './watched.ts'

const THIS_TREE = fileURLToPath(new URL('../', import.meta.url))

/**
 * Builds the package, as for publishing, into a temporary folder.
 *
 * @param root Folder of the tree. @default this one
 * @returns The folder.
 */
export async function builtPackage(root = THIS_TREE): Promise<string> {
  const folder = temporaryFolder()
  const dist = join(folder, 'dist')
  const build = join(root, 'build.ts')
  // Trees from before the bundle were compiled file by file.
  const tsc = [join(root, 'node_modules/typescript/bin/tsc'), '-p', join(root, 'tsconfig.build.json'), '--noCheck', '--outDir', dist]
  await promisify(execFile)(process.execPath, existsSync(build) ? [build, dist, '--no-types'] : tsc)
  writeFileSync(join(folder, 'package.json'), '{ "name": "gatewatch", "type": "module", "version": "0.0.0" }')
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

/** URL of the preload of the package that `builtPackage` builds. */
export async function compiledRegister(root = THIS_TREE): Promise<string> {
  return registerOf(pathToFileURL(`${root}/`), 'default', pathToFileURL(`${await builtPackage(root)}/`))
}
