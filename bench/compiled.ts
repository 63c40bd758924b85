import { execFile } from 'node:child_process'
import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { temporaryFolder } from './watched.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))

/** Compiles the package as it is published, into a temporary folder. @returns URL of its preload. */
export async function compiledRegister(): Promise<string> {
  const folder = temporaryFolder()
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const parameters = ['-p', join(ROOT, 'tsconfig.build.json'), '--noCheck', '--outDir', join(folder, 'dist')]
  await promisify(execFile)(process.execPath, [tsc, ...parameters])
  writeFileSync(join(folder, 'package.json'), '{ "name": "gatewatch", "type": "module", "version": "0.0.0" }')
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return pathToFileURL(join(folder, 'dist/src/register.js')).href
}
