import { execFile } from 'node:child_process'
import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { registerOf, temporaryFolder } from './watched.ts'

const THIS_TREE = fileURLToPath(new URL('../', import.meta.url))

/**
 * Compiles the package as it is published, into a temporary folder.
 *
 * @param root Folder of the tree. @default this one
 * @returns URL of its preload.
 */
export async function compiledRegister(root = THIS_TREE): Promise<string> {
  const folder = temporaryFolder()
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  const parameters = ['-p', join(root, 'tsconfig.build.json'), '--noCheck', '--outDir', join(folder, 'dist')]
  await promisify(execFile)(process.execPath, [tsc, ...parameters])
  writeFileSync(join(folder, 'package.json'), '{ "name": "gatewatch", "type": "module", "version": "0.0.0" }')
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  return registerOf(pathToFileURL(`${root}/`), 'default', pathToFileURL(`${folder}/`))
}
