import { isJsonObject, parseJsonObject } from '../tools/json-object.ts'
import { damagedSource } from './source-failure.ts'
import { readSourceUnmodified } from './source-file.ts'

/** From here on a number is a moment in milliseconds; smaller ones are seconds. */
const MILLISECONDS = 100_000_000_000

/**
 * The members of a JSON object in another caller's file, read by type.
 *
 * What is absent or `null` is `undefined`; members no caller asks for are not looked at. A member of another type is damage:
 * the methods throw `GW_STORE_DAMAGED` with file, key, type and what is allowed.
 */
export class SourceFields {
  readonly file: string
  readonly #place: string
  readonly #values: Readonly<Record<string, unknown>>

  /** @param place Key of the object itself, for messages; empty for the whole file. */
  constructor(file: string, values: Readonly<Record<string, unknown>>, place = '') {
    this.file = file
    this.#place = place
    this.#values = values
  }

  /** The names of all members. */
  keys(): string[] {
    return Object.keys(this.#values)
  }

  text(key: string): string | undefined {
    const value = this.#given(key)
    if (value === undefined || typeof value === 'string') return value
    throw this.#wrong(key, 'a string')
  }

  /** A moment as epoch milliseconds, also where the file has seconds; `undefined` when it is not after 1970. */
  moment(key: string): number | undefined {
    const value = this.#given(key)
    if (value === undefined) return undefined
    if (typeof value !== 'number') throw this.#wrong(key, 'a number, in epoch milliseconds')
    if (value <= 0) return undefined
    return value >= MILLISECONDS ? value : value * 1000
  }

  texts(key: string): string[] {
    const value = this.#given(key)
    if (value === undefined) return []
    if (Array.isArray(value) && value.every(item => typeof item === 'string')) return value
    throw this.#wrong(key, 'a list of strings')
  }

  /** @param shownKey The key as a message may show it, where the key itself is an e-mail address. */
  object(key: string, shownKey = key): SourceFields | undefined {
    const value = this.#given(key)
    if (value === undefined) return undefined
    if (isJsonObject(value)) return new SourceFields(this.file, value, this.#placeOf(shownKey))
    throw this.#wrong(key, 'an object', shownKey)
  }

  #given(key: string): unknown {
    return Object.hasOwn(this.#values, key) ? (this.#values[key] ?? undefined) : undefined
  }

  #placeOf(key: string): string {
    return this.#place === '' ? key : `${this.#place}.${key}`
  }

  #wrong(key: string, allowed: string, shownKey = key) {
    return damagedSource(this.file, `${this.#placeOf(shownKey)} is ${typeOf(this.#values[key])}; allowed is ${allowed}`)
  }
}

/** Reads a JSON file of another caller's. @throws {GatewayError} as `readUntouched`; `GW_STORE_DAMAGED` when it is no object. */
export async function readSourceFields(path: string): Promise<SourceFields> {
  return fieldsOf(path, await readSourceUnmodified(path))
}

/** The fields of a JSON text. @param place What the text is, where it is not the whole file. */
export function fieldsOf(path: string, text: string, place = ''): SourceFields {
  const values = parseJsonObject(text)
  if (values) return new SourceFields(path, values)
  const what = text.trim() === '' ? 'is empty' : 'is cut off, or not a JSON object'
  throw damagedSource(path, place === '' ? what : `${place} ${what}`)
}

function typeOf(value: unknown): string {
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
