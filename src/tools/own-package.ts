import { readFileSync } from 'node:fs'
import { dirname } from 'node:path'

/** This package, where its code is stored in its own folder: not where an application has it in a bundle. */
interface OwnPackage {
  readonly folder: string
  readonly version: string
}

const ownPackage = findOwnPackage()

function findOwnPackage(): OwnPackage | undefined {
  try {
    const path = process.getBuiltinModule('node:module').findPackageJSON(import.meta.url)
    if (path === undefined) return undefined
    const { name, version } = JSON.parse(readFileSync(path, 'utf8')) as { name?: string; version?: string }
    return name === 'gatewatch' && version !== undefined ? { folder: dirname(path), version } : undefined
  } catch {
    return undefined
  }
}

/** The folder of this package, with `package.json`; `undefined` in an application's bundle. */
export const PACKAGE_FOLDER: string | undefined = ownPackage?.folder

/** The version of this package; `0.0.0` in an application's bundle. */
export function packageVersion(): string {
  return ownPackage?.version ?? '0.0.0'
}
