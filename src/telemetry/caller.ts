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
import { SourceMaps } from '../tools/source-maps.ts'
import { type RawFrame, SEAM, takeFrames } from '../tools/stack-frames.ts'
import { isOfMainPackage, pathInPackages } from './main-package.ts'

/** What a file is to the application; `undefined` for Node's internals and Gatewatch's own files. */
interface Place {
  readonly file: string
  readonly kind: Frame['kind']
}

const MOST_CACHED = 20_000
/** Packages that send for others: where nobody but packages is on the stack, as in a command that was installed, it is their user that counts. */
const CLIENT_PACKAGE =
  /^(?:undici|axios|follow-redirects|got|ky|node-fetch|superagent|gaxios|google-auth-library|openid-client|oauth4webapi|simple-oauth2|openai|@anthropic-ai\/sdk)(?:-\d+)?\//
const OWN_PACKAGE = /(?:^|\/)gatewatch\/(?:dist\/)?(?:src|otel)\//
const IS_UNBUNDLED = /\/src\/telemetry\/caller\.[jt]s$/.test(import.meta.url)
const SOURCE_ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const OTEL_ROOT = join(dirname(SOURCE_ROOT), 'otel')
/** Demo and scenarios play applications that use Gatewatch, so their frames are an application's frames. */
const PLAYED_ROOTS = [join(SOURCE_ROOT, 'demo') + sep, join(SOURCE_ROOT, 'scenarios', 'application') + sep]

/** A stack that was seen before. */
interface Known {
  readonly raw: readonly RawFrame[]
  readonly site: CallerSite
}

const places = new Map<string, Place | null>()
/** Those that were seen, by a number made of their frames: no text is put together for a stack that is known. */
const sites = new Map<number, Known[]>()
let knownSites = 0
const maps = new SourceMaps()
let sitesAsOf = 0
/** Stacks that were described before it was known where they are in the sources, by their ids. */
const unmapped = new Map<string, readonly RawFrame[]>()
const MOST_UNMAPPED = 1_000
const LONGEST_READ_MS = 2_000

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
  if (sitesAsOf !== maps.version) forgetSites()
  const number = numberOf(raw)
  const alike = sites.get(number)
  const known = alike?.find(other => isSameStack(other.raw, raw))
  if (known) return known.site
  const site = describe(raw)
  if (knownSites >= MOST_CACHED) forgetSites()
  knownSites += 1
  const entry = { raw, site }
  if (alike && sites.has(number)) alike.push(entry)
  else sites.set(number, [entry])
  return site
}

/**
 * As `siteOf`, where the nearer frames are known to be on everybody's way: they stay on the stack, and are nobody's caller.
 *
 * @param from Index of the first frame that can be the caller's; where nothing is left from there on, all of them can.
 */
export function siteOutside(raw: readonly RawFrame[], from: number): CallerSite {
  const whole = siteOf(raw)
  const outside = from > 0 ? siteOf(raw.slice(from)) : whole
  return outside === whole || !outside.frame ? whole : { ...outside, frames: whole.frames, stackId: whole.stackId }
}

/** Resolves when the callers described so far can be told by the sources; `undefined` when they can be already. Never rejects. */
export function callersSettled(): Promise<void> | undefined {
  return maps.isBusy ? maps.settled() : undefined
}

/** As `callersSettled` for a process that ends within this turn; what takes too long stays as it is. */
export function settleCallersNow(): void {
  maps.settleNow()
}

/** Has the source map of the caller of `above` read, before anything is asked of it; waits two seconds at the most. */
export async function readMapOfCaller(above: (...args: never[]) => unknown): Promise<void> {
  askForOriginals(takeFrames(above, 2))
  const settled = callersSettled()
  if (!settled) return
  let timer: NodeJS.Timeout | undefined
  const timeUp = new Promise<void>(resolve => {
    // Holds the process: the thread that reads does not, and somebody waits for us.
    timer = setTimeout(resolve, LONGEST_READ_MS)
  })
  await Promise.race([settled, timeUp])
  clearTimeout(timer)
}

/**
 * What a span says about its caller, now that the sources are known: where it was described before, its caller, place and
 * stack are told anew.
 */
export function mappedCaller(attributes: Attributes): Attributes {
  if (unmapped.size === 0) return attributes
  const raw = unmapped.get(String(attributes[ATTR_STACK_ID] ?? ''))
  if (!raw) return attributes
  const frames = framesOf(raw)
  const isFrame = ({ generated, ...here }: Frame) => {
    const { file, line, column } = generated ?? here
    return file === attributes[ATTR_CODE_FILE] && line === attributes[ATTR_CODE_LINE] && column === attributes[ATTR_CODE_COLUMN]
  }
  const from = Math.max(0, frames.findIndex(isFrame))
  const frame = callerAmong(frames.slice(from))
  if (!frame?.generated) return { ...attributes, [ATTR_CODE_STACK]: stackText(frames) }
  const isClient = attributes[ATTR_CALLER_KIND] === 'client'
  return {
    ...attributes,
    ...(!isClient && { [ATTR_CALLER]: labelOf(frame), [ATTR_CALLER_KIND]: kindOf(frame) }),
    ...placeAttributes(frame),
    [ATTR_CODE_STACK]: stackText(frames),
  }
}

/** What a span says about its caller. The stack goes along: it is why somebody looks. */
export function callerAttributes(caller: CallerSite): Attributes {
  const attributes: Attributes = { [ATTR_CALLER]: caller.label, [ATTR_CALLER_KIND]: caller.kind }
  if (!caller.frame) return attributes
  attributes[ATTR_STACK_ID] = caller.stackId
  Object.assign(attributes, placeAttributes(caller.frame))
  attributes[ATTR_CODE_STACK] = textOf(caller)
  return attributes
}

function placeAttributes({ functionName, file, line, column }: Frame): Attributes {
  return { [ATTR_CODE_FUNCTION]: functionName, [ATTR_CODE_FILE]: file, [ATTR_CODE_LINE]: line, [ATTR_CODE_COLUMN]: column }
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

/** Equal stacks have equal numbers, and others seldom. */
function numberOf(raw: readonly RawFrame[]): number {
  let number = raw.length
  for (const { line, column, file } of raw) number = (Math.imul(number, 31) + Math.imul(line, 509) + column + file.length) | 0
  return number
}

function isSameStack(one: readonly RawFrame[], other: readonly RawFrame[]): boolean {
  return one.length === other.length && one.every((frame, index) => isSameFrame(frame, other[index]))
}

function isSameFrame(one: RawFrame, other: RawFrame | undefined): boolean {
  if (one === other) return true
  return one.line === other?.line && one.column === other.column && one.file === other.file && one.functionName === other.functionName
}

function forgetSites(): void {
  sites.clear()
  knownSites = 0
  sitesAsOf = maps.version
}

function describe(raw: readonly RawFrame[]): CallerSite {
  askForOriginals(raw)
  const frames = framesOf(raw)
  const frame = callerAmong(frames)
  if (!frame) return UNKNOWN_CALLER
  const stackId = stackIdOf(raw)
  if (maps.isBusy) {
    if (unmapped.size >= MOST_UNMAPPED) unmapped.clear()
    unmapped.set(stackId, raw)
  }
  return { kind: kindOf(frame), label: labelOf(frame), frame, frames, stackId }
}

function callerAmong(frames: readonly Frame[]): Frame | undefined {
  const real = frames.filter(({ file }) => file !== '')
  return real.find(({ kind }) => kind === 'application') ?? real.find(({ file }) => !CLIENT_PACKAGE.test(file)) ?? real.at(0)
}

function kindOf({ kind }: Frame): CallerSite['kind'] {
  return kind === 'application' ? 'code' : 'library'
}

function labelOf({ file, functionName }: Frame): string {
  return `${file}#${functionName}`
}

/** Of the code that runs, whatever is known of its sources: the same stack has the same id before and after. */
function stackIdOf(raw: readonly RawFrame[]): string {
  return createHash('sha256')
    .update(stackText(raw.flatMap(frame => generatedFrame(frame) ?? [])))
    .digest('hex')
    .slice(0, 12)
}

function framesOf(raw: readonly RawFrame[]): Frame[] {
  return raw.flatMap(frame => toFrame(frame) ?? [])
}

/** Asks where the frames are in the sources, all of a file at once. */
function askForOriginals(raw: readonly RawFrame[]): void {
  const byPath = new Map<string, RawFrame[]>()
  for (const frame of raw) {
    const place = placeOf(frame.file)
    if (!place || CLIENT_PACKAGE.test(place.file)) continue
    const path = toPath(frame.file)
    const ofPath = byPath.get(path)
    if (ofPath) ofPath.push(frame)
    else byPath.set(path, [frame])
  }
  for (const [path, frames] of byPath) maps.want(path, frames)
}

function toFrame(raw: RawFrame): Frame | undefined {
  const frame = generatedFrame(raw)
  const original = frame && maps.find(toPath(raw.file), raw)
  if (!original) return frame
  const place = placeOf(original.file)
  if (!place || OWN_PACKAGE.test(slashes(original.file))) return undefined
  const { file, line, column } = frame
  const { functionName, line: originalLine, column: originalColumn } = original
  return { ...frame, functionName, ...place, line: originalLine, column: originalColumn, generated: { file, line, column } }
}

function generatedFrame(raw: RawFrame): Frame | undefined {
  if (raw === SEAM) return { functionName: raw.functionName, file: '', line: 0, column: 0, kind: 'library', isAsync: false }
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
  if (!file || file === SEAM.file || file.startsWith('node:') || file.startsWith('wasm:')) return null
  const path = toPath(file)
  if (isOwn(path)) return null
  const inPackages = pathInPackages(path)
  if (inPackages !== undefined) return { file: inPackages, kind: isOfMainPackage(inPackages) ? 'application' : 'library' }
  const fromHere = relative(process.cwd(), path)
  return { file: slashes(fromHere.startsWith('..') ? path.split(sep).slice(-3).join('/') : fromHere), kind: 'application' }
}

function isOwn(path: string): boolean {
  // Bundled into the application there is no folder of ours; the source map tells our files then.
  if (!IS_UNBUNDLED) return false
  const isSource = path.startsWith(SOURCE_ROOT + sep) && !PLAYED_ROOTS.some(root => path.startsWith(root))
  return isSource || path.startsWith(OTEL_ROOT + sep)
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
