import { closeSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { TraceMap } from '@jridgewell/trace-mapping'
import { requireOwn } from '../tools/own-module.ts'

/** A place in generated code, as V8 gives it: line and column begin with 1. */
export interface GeneratedPlace {
  readonly line: number
  readonly column: number
  /** What the function is called there. */
  readonly functionName: string
  /** Where the function begins, where that is known. */
  readonly start?: { readonly line: number; readonly column: number } | undefined
}

/** The place in the source that was bundled, compiled or minified into it. */
export interface OriginalPlace {
  /** Path of the source, absolute where the map states it. */
  readonly file: string
  readonly line: number
  readonly column: number
  readonly functionName: string
}

type Tracing = typeof import('./trace-mapping.ts')

/** A file's map, decoded, with the generated text in lines. */
interface Opened {
  readonly map: TraceMap
  readonly lines: readonly string[]
}

/** Bytes at the end of a file in which the comment with the name of its map is looked for. */
const TAIL_BYTES = 4096
/** In two pieces: whole, it would be taken for the comment of our own file where a bundler breaks the line before it. */
const COMMENT = ['//# source', 'MappingURL='].join('')
const MOST_OPENED = 8
/** How far the name of a function may be from where it begins: `async function* name`, `name = async`. */
const NAME_AHEAD = 32
const NAME_BEHIND = 48

const opened = new Map<string, Opened | undefined>()

/** Says, from the end of a file, whether it may have a map: a look of microseconds. */
export function mayHaveMap(path: string): boolean {
  if (!/\.[cm]?js$/.test(path)) return false
  try {
    const tail = tailOf(path)
    // An inline map is longer than the tail: base64 without a break.
    return tail.includes(COMMENT) || (tail.length >= TAIL_BYTES && /^[A-Za-z0-9+/=]+\s*$/.test(tail))
  } catch {
    return false
  }
}

/**
 * Looks places up in the source map of a file: one beside it, or within it. Nothing is fetched.
 *
 * Reading and decoding a map of a megabyte takes some fifty milliseconds, once.
 *
 * @param mostBytes Longest file, and longest map, that is read.
 * @returns The places in the source; `undefined` for one that the map does not know. Never throws.
 */
export function readOriginals(path: string, places: readonly GeneratedPlace[], mostBytes: number): (OriginalPlace | undefined)[] {
  try {
    const tracing = requireOwn<Tracing>('callers/trace-mapping')
    if (!opened.has(path)) {
      if (opened.size >= MOST_OPENED) opened.clear()
      opened.set(path, open(tracing, path, mostBytes))
    }
    const file = opened.get(path)
    return places.map(place => file && originalOf(tracing, file, place))
  } catch {
    return places.map(() => undefined)
  }
}

function open({ TraceMap }: Tracing, path: string, mostBytes: number): Opened | undefined {
  const text = readWhole(path, mostBytes)
  const at = text.lastIndexOf(COMMENT)
  if (at < 0) return undefined
  const [url = ''] = text.slice(at + COMMENT.length).split(/\s/, 1)
  const isInline = url.startsWith('data:')
  const mapPath = isInline ? path : pathOf(url, path)
  if (mapPath === undefined) return undefined
  const map = new TraceMap(isInline ? inline(url) : readWhole(mapPath, mostBytes), mapPath)
  return { map, lines: text.slice(0, at).split('\n') }
}

/** @returns `undefined` for what is no file of this machine. */
function pathOf(url: string, beside: string): string | undefined {
  if (url.startsWith('file:')) return fileURLToPath(url)
  return /^[a-z][a-z0-9+.-]*:|^\/\//i.test(url) ? undefined : resolve(dirname(beside), decodeURIComponent(url))
}

function inline(url: string): string {
  const comma = url.indexOf(',')
  const data = url.slice(comma + 1)
  return url.slice(0, comma).endsWith(';base64') ? Buffer.from(data, 'base64').toString('utf8') : decodeURIComponent(data)
}

function readWhole(path: string, mostBytes: number): string {
  const file = openSync(path, 'r')
  try {
    if (fstatSync(file).size > mostBytes) throw new RangeError('too long to be read')
    return readFileSync(file, 'utf8')
  } finally {
    closeSync(file)
  }
}

function tailOf(path: string): string {
  const file = openSync(path, 'r')
  try {
    const tail = Buffer.alloc(TAIL_BYTES)
    const length = readSync(file, tail, 0, TAIL_BYTES, Math.max(0, fstatSync(file).size - TAIL_BYTES))
    return tail.toString('latin1', 0, length)
  } finally {
    closeSync(file)
  }
}

function originalOf(tracing: Tracing, file: Opened, place: GeneratedPlace): OriginalPlace | undefined {
  const found = tracing.originalPositionFor(file.map, { line: place.line, column: place.column - 1 })
  if (found.source === null) return undefined
  return {
    file: plainSource(found.source),
    line: found.line,
    column: found.column + 1,
    functionName: nameOf(tracing, file, place) ?? place.functionName,
  }
}

/** `webpack://app/./src/x.ts` and the like are paths within the application. */
function plainSource(source: string): string {
  if (source.startsWith('file:')) return fileURLToPath(source)
  return source.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/]*\//i, '').replace(/^(?:\.\/)+/, '')
}

/** The name that a function had before it was minified: the map knows it where the generated code says the short one. */
function nameOf(tracing: Tracing, { map, lines }: Opened, { functionName, start }: GeneratedPlace): string | undefined {
  if (!start || functionName.startsWith('<')) return undefined
  const short = functionName.slice(functionName.lastIndexOf('.') + 1)
  const line = lines[start.line - 1] ?? ''
  const segments = tracing.decodedMappings(map)[start.line - 1] ?? []
  const begin = start.column - 1
  let best: { distance: number; name: number } | undefined
  for (const segment of segments) {
    const [column, , , , name] = segment
    if (name === undefined || column < begin - NAME_BEHIND || column > begin + NAME_AHEAD) continue
    if (!isNameAt(line, column, short, column < begin)) continue
    const distance = Math.abs(column - begin)
    if (!best || distance < best.distance) best = { distance, name }
  }
  return best && map.names[best.name]
}

/** Says whether the generated code has the function's short name there: after `function`, or before `=` or `:`. */
function isNameAt(line: string, column: number, short: string, isBehind: boolean): boolean {
  if (!line.startsWith(short, column)) return false
  const rest = line.slice(column + short.length)
  return isBehind ? /^\s*[=:]/.test(rest) : /^\s*\(/.test(rest)
}
