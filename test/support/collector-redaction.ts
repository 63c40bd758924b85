import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../house/source-files.ts'
import { recordedSpans } from './recorded-spans.ts'

/** What the collector's redaction puts in the place of a match. */
export const MASK = '****'

/** The redaction of a collector's configuration, as the collector's `redaction` processor does it. */
export interface CollectorRedaction {
  /** A value as it leaves the collector. */
  maskValue(value: string): string
  /** Whether the value of an attribute with this name is masked whatever it is. */
  masksKey(key: string): boolean
}

/** Reads the patterns of `otel/pipeline/collector.yaml`. RE2 and JavaScript agree on all that they use. */
export function shippedRedaction(): CollectorRedaction {
  const text = readFileSync(join(ROOT, 'otel/pipeline/collector.yaml'), 'utf8')
  const values = patternsOf(text, 'blocked_values')
  const keys = patternsOf(text, 'blocked_key_patterns')
  return {
    maskValue: value => values.reduce((masked, pattern) => masked.replace(pattern, MASK), value),
    masksKey: key => keys.some(pattern => key.search(pattern) >= 0),
  }
}

/** Every text of the spans that a state folder's processes recorded which the shipped patterns would change: `key=value`. */
export function valuesMaskedIn(folder: string): string[] {
  const { maskValue } = shippedRedaction()
  return recordedSpans(folder)
    .flatMap(({ name, attributes, events }) => [{ name: '', attributes: { name } }, { name, attributes }, ...events])
    .flatMap(({ name, attributes = {} }) => Object.entries(attributes).map(([key, value]) => ({ what: `${name} ${key}`, value })))
    .flatMap(({ what, value }) => (typeof value === 'string' && maskValue(value) !== value ? [`${what}=${value}`] : []))
}

function patternsOf(text: string, key: string): RegExp[] {
  const [, list = ''] = new RegExp(String.raw`^ {4}${key}:\n((?: {6}.*\n)+)`, 'm').exec(text) ?? []
  const patterns = [...list.matchAll(/^ {6}- (?:'(.*)'|"(.*)")$/gm)].map(
    ([, single, double]) => single?.replaceAll("''", "'") ?? double ?? '',
  )
  if (patterns.length === 0) throw new RangeError(`otel/pipeline/collector.yaml has no list ${key}`)
  return patterns.map(pattern => new RegExp(pattern.replace(/^\(\?i\)/, ''), pattern.startsWith('(?i)') ? 'gi' : 'g'))
}
