import { realpathSync } from 'node:fs'
import { relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Frame } from '../domain/caller-site.ts'
import { PLAYED_MODULES } from '../tools/own-module.ts'
import { PACKAGE_FOLDER } from '../tools/own-package.ts'
import { SEAM } from './stack-frames.ts'

const PACKAGES = `${sep}node_modules${sep}`

/** The package of the command that was started, where that is installed: its code is the application. */
const mainPackage = packageOf(pathInPackages(realPath(process.argv[1] ?? '')) ?? '')

/** The path of an installed file below its `node_modules`, with slashes; `undefined` for any other file. */
function pathInPackages(path: string): string | undefined {
  const at = path.lastIndexOf(PACKAGES)
  return at < 0
    ? undefined
    : path
        .slice(at + PACKAGES.length)
        .split(sep)
        .join('/')
}

/** Says whether a file, as `pathInPackages` names it, is of the package whose command this process runs. */
function isOfMainPackage(file: string): boolean {
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

/** What a file is to the application. */
interface SourceKind {
  readonly file: string
  readonly kind: Frame['kind']
}

const MOST_CACHED = 20_000
/** Packages that send for others: where only packages are on the stack, as in a command that was installed, the package that uses them counts. */
const CLIENT_PACKAGE =
  /^(?:undici|axios|follow-redirects|got|ky|node-fetch|superagent|gaxios|google-auth-library|openid-client|oauth4webapi|simple-oauth2|openai|@anthropic-ai\/sdk)(?:-\d+)?\//
const OWN_PACKAGE = /(?:^|\/)gatewatch\/(?:dist|src|otel)\//
/** What of the package's folder is its code: the rest of a checkout is tests and benchmarks, which are applications. */
const OWN_FOLDER = /^(?:(?:src|otel)\/|dist\/)/

const places = new Map<string, SourceKind | null>()

/** What a file is, by its path or URL. `null` for Node's internals and Gatewatch's own files. */
export function sourceKindOf(file: string): SourceKind | null {
  const known = places.get(file)
  if (known !== undefined) return known
  const place = findPlace(file)
  if (places.size >= MOST_CACHED) places.clear()
  places.set(file, place)
  return place
}

function findPlace(file: string): SourceKind | null {
  if (!file || file === SEAM.file || file.startsWith('node:') || file.startsWith('wasm:')) return null
  const path = toPath(file)
  if (isOwn(path)) return null
  const inPackages = pathInPackages(path)
  if (inPackages !== undefined) return { file: inPackages, kind: isOfMainPackage(inPackages) ? 'application' : 'library' }
  const fromHere = relative(process.cwd(), path)
  return { file: slashes(fromHere.startsWith('..') ? path.split(sep).slice(-3).join('/') : fromHere), kind: 'application' }
}

function isOwn(path: string): boolean {
  // Bundled into the application there is no folder of ours; the source map identifies our files then.
  if (PACKAGE_FOLDER === undefined || !path.startsWith(PACKAGE_FOLDER + sep)) return false
  const [folder] = OWN_FOLDER.exec(slashes(path.slice(PACKAGE_FOLDER.length + 1))) ?? []
  return folder !== undefined && !PLAYED_MODULES.test(slashes(path.slice(PACKAGE_FOLDER.length + 1 + folder.length)))
}

/** The absolute path of what V8 calls a file. */
export function toPath(file: string): string {
  const [withoutQuery = file] = file.split('?')
  if (!withoutQuery.startsWith('file:')) return withoutQuery
  try {
    return fileURLToPath(withoutQuery)
  } catch {
    return withoutQuery
  }
}

/** One of a library that sends for others. */
export function isOfClientPackage({ file }: Pick<SourceKind, 'file'>): boolean {
  return CLIENT_PACKAGE.test(file)
}

/** Says of a path in the sources that it is Gatewatch's own, bundled into the application. */
export function isOwnSource(path: string): boolean {
  return OWN_PACKAGE.test(slashes(path))
}

function slashes(path: string): string {
  return path.split(sep).join('/')
}
