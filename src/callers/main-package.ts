import { realpathSync } from 'node:fs'
import { sep } from 'node:path'

const PACKAGES = `${sep}node_modules${sep}`

/** The package of the command that was started, where that is installed: its code is the application. */
const mainPackage = packageOf(pathInPackages(realPath(process.argv[1] ?? '')) ?? '')

/** The path of an installed file below its `node_modules`, with slashes; `undefined` for any other file. */
export function pathInPackages(path: string): string | undefined {
  const at = path.lastIndexOf(PACKAGES)
  return at < 0
    ? undefined
    : path
        .slice(at + PACKAGES.length)
        .split(sep)
        .join('/')
}

/** Says whether a file, as `pathInPackages` names it, is of the package whose command this process runs. */
export function isOfMainPackage(file: string): boolean {
  return mainPackage !== undefined && packageOf(file) === mainPackage
}

function packageOf(file: string): string | undefined {
  return /^(?:@[^/]+\/)?[^/]+/.exec(file)?.[0]
}

/** Commands are started through links. */
function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}
