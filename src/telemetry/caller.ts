import { createHash } from 'node:crypto'
import { dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Attributes } from '@opentelemetry/api'
import {
  ATTR_CALLER,
  ATTR_CALLER_KIND,
  ATTR_CODE_COLUMN,
  ATTR_CODE_FILE,
  ATTR_CODE_FUNCTION,
  ATTR_CODE_LINE,
  ATTR_CODE_STACK,
  ATTR_STACK_ID,
} from '../../otel/names.ts'
import { type CallerSite, type Frame, stackText, UNKNOWN_CALLER } from '../domain/caller-site.ts'
import { type RawFrame, takeFrames } from '../tools/stack-frames.ts'

/** What a file is to the application; `undefined` for Node's internals and Gatewatch's own files. */
interface Place {
  readonly file: string
  readonly kind: Frame['kind']
}

const MOST_CACHED = 20_000
/** Packages that send for others: where nobody but packages is on the stack, as in a command that was installed, it is their user that counts. */
const CLIENT_PACKAGE =
  /^(?:undici|axios|follow-redirects|got|ky|node-fetch|superagent|gaxios|google-auth-library|openid-client|oauth4webapi|simple-oauth2|openai|@anthropic-ai\/sdk)(?:-\d+)?\//
const SOURCE_ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const OTEL_ROOT = join(dirname(SOURCE_ROOT), 'otel')
/** The demo plays an application that uses Gatewatch, so its frames are an application's frames. */
const DEMO_ROOT = join(SOURCE_ROOT, 'demo')

const places = new Map<string, Place | null>()
const sites = new Map<string, CallerSite>()

/**
 * Takes the caller site: who, in the application, is asking.
 *
 * Must be called synchronously at the door, before the first `await`: the second joiner of a shared promise is on
 * nobody's stack any more. Stacks that were seen before cost no new strings.
 *
 * @param above The public function at the door; frames up to it are left out.
 */
export function takeCallerSite(above: (...args: never[]) => unknown): CallerSite {
  return siteOf(takeFrames(above))
}

/** The caller site of frames taken elsewhere. */
export function siteOf(raw: readonly RawFrame[]): CallerSite {
  let key = ''
  for (const frame of raw) key += `${frame.file}:${frame.line}:${frame.column}\n`
  const known = sites.get(key)
  if (known) return known
  const site = describe(raw)
  if (sites.size >= MOST_CACHED) sites.clear()
  sites.set(key, site)
  return site
}

/** What a span says about its caller. The stack goes along: it is why somebody looks. */
export function callerAttributes(caller: CallerSite): Attributes {
  const attributes: Attributes = { [ATTR_CALLER]: caller.label, [ATTR_CALLER_KIND]: caller.kind }
  if (!caller.frame) return attributes
  attributes[ATTR_STACK_ID] = caller.stackId
  attributes[ATTR_CODE_FUNCTION] = caller.frame.functionName
  attributes[ATTR_CODE_FILE] = caller.frame.file
  attributes[ATTR_CODE_LINE] = caller.frame.line
  attributes[ATTR_CODE_COLUMN] = caller.frame.column
  attributes[ATTR_CODE_STACK] = textOf(caller)
  return attributes
}

const texts = new WeakMap<CallerSite, string>()

function textOf(caller: CallerSite): string {
  let text = texts.get(caller)
  if (text === undefined) {
    text = stackText(caller.frames)
    texts.set(caller, text)
  }
  return text
}

function describe(raw: readonly RawFrame[]): CallerSite {
  const frames = raw.flatMap(frame => toFrame(frame) ?? [])
  const frame = frames.find(({ kind }) => kind === 'application') ?? frames.find(({ file }) => !CLIENT_PACKAGE.test(file)) ?? frames.at(0)
  if (!frame) return UNKNOWN_CALLER
  const stackId = createHash('sha256').update(stackText(frames)).digest('hex').slice(0, 12)
  return { kind: frame.kind === 'application' ? 'code' : 'library', label: `${frame.file}#${frame.functionName}`, frame, frames, stackId }
}

function toFrame(raw: RawFrame): Frame | undefined {
  const place = placeOf(raw.file)
  return place ? { functionName: raw.functionName, ...place, line: raw.line, column: raw.column, isAsync: raw.isAsync } : undefined
}

function placeOf(file: string): Place | null {
  const known = places.get(file)
  if (known !== undefined) return known
  const place = findPlace(file)
  if (places.size >= MOST_CACHED) places.clear()
  places.set(file, place)
  return place
}

function findPlace(file: string): Place | null {
  if (!file || file.startsWith('node:') || file.startsWith('wasm:')) return null
  const path = toPath(file)
  if (isOwn(path)) return null
  const inPackage = path.lastIndexOf(`${sep}node_modules${sep}`)
  if (inPackage >= 0) return { file: slashes(path.slice(inPackage + '/node_modules/'.length)), kind: 'library' }
  const fromHere = relative(process.cwd(), path)
  return { file: slashes(fromHere.startsWith('..') ? path.split(sep).slice(-3).join('/') : fromHere), kind: 'application' }
}

function isOwn(path: string): boolean {
  return (path.startsWith(SOURCE_ROOT + sep) && !path.startsWith(DEMO_ROOT + sep)) || path.startsWith(OTEL_ROOT + sep)
}

function toPath(file: string): string {
  const [withoutQuery = file] = file.split('?')
  if (!withoutQuery.startsWith('file:')) return withoutQuery
  try {
    return fileURLToPath(withoutQuery)
  } catch {
    return withoutQuery
  }
}

function slashes(path: string): string {
  return path.split(sep).join('/')
}
