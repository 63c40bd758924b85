import { createHash } from 'node:crypto'
import { type CallerSite, type Frame, stackText, UNKNOWN_CALLER } from '../domain/caller-site.ts'
import type { EventCaller } from '../domain/events.ts'
import { settledWithin } from '../tools/time-limit.ts'
import { isOfClientPackage, isOwnSource, sourceKindOf, toPath } from './source-kind.ts'
import { SourceMaps } from './source-maps.ts'
import { captureStack, notedFrames, type RawFrame, SEAM, takeFrames } from './stack-frames.ts'

const MOST_CACHED = 20_000
/** A stack that was seen before. */
interface Known {
  readonly raw: readonly RawFrame[]
  readonly site: CallerSite
}

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
 * no stack any more. Stacks that were seen before cost no new strings.
 *
 * @param above The public function at the door; frames up to it are left out.
 * @param outside Index of the first frame that can be the caller's, as `siteOutside` takes it. @default 0
 */
export function takeCallerSite(above: (...args: never[]) => unknown, outside?: (frames: readonly RawFrame[]) => number): CallerSite {
  const frames = takeFrames(above)
  return outside ? siteOutside(frames, outside(frames)) : siteOf(frames)
}

/** Frames in which the caller of a function is found nearly always. */
const NEAR_FRAMES = 3
/** `captureStack`, `captureNearStack` and the function whose caller is wanted. */
const FRAMES_BEFORE = 3

/** Captures the nearest frames, for `nearCallerSite`. To be called by the function itself whose caller is wanted: each frame costs as much as the next. */
export function captureNearStack(): ReturnType<typeof captureStack> {
  return captureStack(FRAMES_BEFORE + NEAR_FRAMES)
}

/**
 * As `takeCallerSite`, of the nearest frames alone where the caller is among them: a fraction of the cost, for a stack that no
 * reader will most likely see.
 *
 * @param captured By `captureNearStack`.
 */
export function nearCallerSite(captured: ReturnType<typeof captureStack>, above: (...args: never[]) => unknown): CallerSite {
  const near = siteOf(notedFrames(captured, above, NEAR_FRAMES)())
  return near.kind === 'code' ? near : takeCallerSite(above)
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
 * As `siteOf`, where the nearer frames are on every caller's way: they stay on the stack, and are never the caller.
 *
 * @param from Index of the first frame that can be the caller's; where nothing is left from there on, all of them can.
 */
export function siteOutside(raw: readonly RawFrame[], from: number): CallerSite {
  const whole = siteOf(raw)
  const outside = from > 0 ? siteOf(raw.slice(from)) : whole
  return outside === whole || !outside.frame ? whole : { ...outside, frames: whole.frames, stackId: whole.stackId }
}

/** Frames down to the nearest one of the application; 0 where there is none. */
export function framesToApplication(raw: readonly RawFrame[]): number {
  return raw.findIndex(({ file }) => sourceKindOf(file)?.kind === 'application') + 1
}

/** What a frame is called in the sources, and the file it is in there, where that is known by now. */
export function sourceOf(raw: RawFrame): Pick<RawFrame, 'functionName' | 'file'> | undefined {
  return maps.find(toPath(raw.file), raw)
}

/** Resolves when the callers described so far can be shown by the sources; `undefined` when they can be already. Never rejects. */
export function callersSettled(): Promise<void> | undefined {
  return maps.isBusy ? maps.settled() : undefined
}

/**
 * As `callersSettled` for what cannot wait for another turn: a process that ends.
 *
 * @param mostBytes Longest map that is read. @default 4 MiB
 */
export function settleCallersNow(mostBytes?: number): void {
  maps.settleNow(mostBytes)
}

/** Has the source map of the caller of `above` read, before anything is asked of it; waits two seconds at most. */
export async function readMapOfCaller(above: (...args: never[]) => unknown): Promise<void> {
  askForOriginals(takeFrames(above, 2))
  const settled = callersSettled()
  if (settled) await settledWithin(settled, LONGEST_READ_MS)
}

/** The caller as the sources show it, now that they are known: label, place and stack of one that was described before. */
export function mappedCaller(caller: EventCaller): EventCaller {
  if (unmapped.size === 0 || caller.stackId === undefined) return caller
  const raw = unmapped.get(caller.stackId)
  if (!raw) return caller
  const frames = framesOf(raw)
  const isPlace = ({ file, line, column }: NonNullable<Frame['generated']>) =>
    file === caller.file && line === caller.line && column === caller.column
  // One that has been reported again keeps its caller.
  const from = Math.max(
    0,
    frames.findIndex(frame => isPlace(frame) || (frame.generated && isPlace(frame.generated))),
  )
  const frame = callerAmong(frames.slice(from))
  if (!frame?.generated) return { ...caller, stack: stackText(frames) }
  const named = caller.kind === 'client' ? caller : { label: labelOf(frame), kind: kindOf(frame) }
  return { ...caller, ...named, ...placeOf(frame), stack: stackText(frames) }
}

/** A caller site as events carry it. */
export function eventCaller(caller: CallerSite): EventCaller {
  const { label, kind, frame, stackId } = caller
  if (!frame) return { label, kind }
  return { label, kind, stackId, ...placeOf(frame), stack: textOf(caller) }
}

function placeOf({ functionName, file, line, column }: Frame): Pick<EventCaller, 'function' | 'file' | 'line' | 'column'> {
  return { function: functionName, file, line, column }
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
  return real.find(({ kind }) => kind === 'application') ?? real.find(frame => !isOfClientPackage(frame)) ?? real.at(0)
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
    const place = sourceKindOf(frame.file)
    if (!place || isOfClientPackage(place)) continue
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
  const place = sourceKindOf(original.file)
  if (!place || isOwnSource(original.file)) return undefined
  const { file, line, column } = frame
  const { functionName, line: originalLine, column: originalColumn } = original
  return { ...frame, functionName, ...place, line: originalLine, column: originalColumn, generated: { file, line, column } }
}

function generatedFrame(raw: RawFrame): Frame | undefined {
  if (raw === SEAM) return { functionName: raw.functionName, file: '', line: 0, column: 0, kind: 'library', isAsync: false }
  const place = sourceKindOf(raw.file)
  return place ? { functionName: raw.functionName, ...place, line: raw.line, column: raw.column, isAsync: raw.isAsync } : undefined
}
