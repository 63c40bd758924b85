import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '../..')
const BUILDS = join(ROOT, 'test/output/built')
/** All that decides what a build writes. */
const INPUTS = ['build.ts', 'package.json', 'package-lock.json', '{src,otel}/**/*.{ts,html,css}']
const DAY_MS = 86_400_000

/**
 * Builds the package for the tests that start its command or its preload as a process: a process starts with half of the CPU time that
 * the sources take. The folder is named by the content of all sources, so that no test runs code that is not in the checkout.
 */
export default function buildPackage(): void {
  process.env.GATEWATCH_BUILT = builtPackage()
}

/** @returns The folder of the package, with `package.json` and `dist`. */
function builtPackage(): string {
  const folder = join(BUILDS, digestOfInputs())
  if (existsSync(folder)) return folder
  mkdirSync(BUILDS, { recursive: true })
  removeOldBuilds()
  const making = mkdtempSync(join(BUILDS, 'making-'))
  execFileSync(process.execPath, [join(ROOT, 'build.ts'), join(making, 'dist'), '--no-types'], { cwd: ROOT, stdio: 'inherit' })
  copyFileSync(join(ROOT, 'package.json'), join(making, 'package.json'))
  symlinkSync(join(ROOT, 'dashboards'), join(making, 'dashboards'))
  try {
    renameSync(making, folder)
  } catch (error) {
    // Another run has made the same.
    rmSync(making, { recursive: true })
    if (!existsSync(folder)) throw error
  }
  return folder
}

function digestOfInputs(): string {
  const hash = createHash('sha256')
  const paths = INPUTS.flatMap(pattern => globSync(pattern, { cwd: ROOT })).sort()
  for (const path of paths)
    hash
      .update(`${path}\0`)
      .update(readFileSync(join(ROOT, path)))
      .update('\0')
  return hash.digest('hex').slice(0, 16)
}

/** A build that another run still uses is younger. */
function removeOldBuilds(): void {
  for (const name of readdirSync(BUILDS)) {
    const folder = join(BUILDS, name)
    if (Date.now() - statSync(folder).mtimeMs > DAY_MS) rmSync(folder, { recursive: true, force: true })
  }
}
