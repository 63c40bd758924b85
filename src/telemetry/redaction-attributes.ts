import type { Attributes, AttributeValue } from '@opentelemetry/api'
import { ATTR_PROVIDER_REQUEST_ID, ATTRIBUTES, type AttributeClass } from '../../otel/semconv.ts'
import { secretChanges, withoutSecrets } from '../tools/secret-registry.ts'
import { redactLine, redactText } from './redaction-patterns.ts'

/** Longest value by class, in characters. */
const LONGEST_VALUES = { label: 120, code: 8192, text: 2048 } as const
type TextClass = keyof typeof LONGEST_VALUES

/** Clean texts remembered per class; the values of labels and stacks come again and again. */
const MOST_REMEMBERED: Readonly<Record<TextClass, number>> = { label: 4000, code: 500, text: 500 }

/** What may stand where a provider names a request: a UUID or a prefixed id, too short for a key of its own. */
const REQUEST_ID = /^(?:(?:req|resp|msg|chatcmpl)[_-][A-Za-z0-9]{8,40}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/

/** Attributes that passed, and how many did not. */
interface RedactedAttributes {
  readonly attributes: Attributes
  readonly dropped: number
}

const NOTHING: RedactedAttributes = { attributes: {}, dropped: 0 }

interface Rule {
  readonly class: AttributeClass
  readonly values: ReadonlySet<string>
}

/**
 * Decides what of a span may leave the process: only attributes of `otel/semconv.ts`, only values of their class, and no
 * text without a look for secrets.
 */
export class AttributeRedactor {
  readonly #rules = new Map<string, Rule>()
  /** Texts in which nothing was found. What held a secret is not remembered, so that no secret stays in memory here. */
  readonly #clean: Readonly<Record<TextClass, Set<string>>> = { label: new Set(), code: new Set(), text: new Set() }
  readonly #longest: Readonly<Record<TextClass, number>>
  #cleanAt = secretChanges()

  /** @param longest No value becomes longer than this, whatever its class. */
  constructor({ longest = Number.POSITIVE_INFINITY }: { longest?: number } = {}) {
    const { label, code, text } = LONGEST_VALUES
    this.#longest = { label: Math.min(label, longest), code: Math.min(code, longest), text: Math.min(text, longest) }
    for (const [key, { class: kind, values = [] }] of Object.entries(ATTRIBUTES))
      this.#rules.set(key, { class: kind, values: new Set(values) })
  }

  /** The attributes that may pass, in an object of its own. */
  attributes(attributes: Attributes | undefined): RedactedAttributes {
    if (!attributes) return NOTHING
    const passed: Attributes = {}
    let dropped = 0
    for (const key in attributes) {
      const value = this.value(key, attributes[key])
      if (value === undefined) dropped += 1
      else passed[key] = value
    }
    return { attributes: passed, dropped }
  }

  /** A span's or event's name: a label. */
  name(name: string): string {
    return this.#text('label', String(name))
  }

  /** The value of an attribute, if it may pass. */
  value(key: string, value: unknown): AttributeValue | undefined {
    const rule = this.#rules.get(key)
    if (typeof value === 'string') return rule && this.#string(rule, key, value)
    if (typeof value === 'number') return rule?.class === 'number' && Number.isFinite(value) ? value : undefined
    return typeof value === 'boolean' && rule?.class === 'boolean' ? value : undefined
  }

  #string(rule: Rule, key: string, value: string): string | undefined {
    switch (rule.class) {
      case 'list':
        return rule.values.has(value) ? value : undefined
      case 'digest':
        return isDigest(value) ? value : undefined
      case 'number':
      case 'boolean':
        return undefined
      case 'label':
      case 'code':
      case 'text':
        // An id that looks like one may still be a secret of ours that the provider hands back.
        return key === ATTR_PROVIDER_REQUEST_ID && REQUEST_ID.test(value)
          ? withoutSecrets(value, '[secret]')
          : this.#text(rule.class, value)
      default:
        return rule.class satisfies never
    }
  }

  #text(kind: TextClass, text: string): string {
    if (this.#cleanAt !== secretChanges()) this.#lookAgain()
    const clean = this.#clean[kind]
    if (clean.has(text)) return text
    const longest = this.#longest[kind]
    // Cut before as well, generously: a huge text must not cost more than a long one. What the first cut splits lies
    // beyond the second one.
    const scrub = kind === 'label' ? redactLine : redactText
    const safe = scrub(text.length > longest * 4 ? text.slice(0, longest * 4) : text)
    if (safe !== text || safe.length > longest) return safe.slice(0, longest)
    if (clean.size >= MOST_REMEMBERED[kind]) clean.clear()
    clean.add(text)
    return text
  }

  /** A key or token came into use since: a text found clean before may hold it. */
  #lookAgain(): void {
    this.#cleanAt = secretChanges()
    for (const clean of Object.values(this.#clean)) clean.clear()
  }
}

/** Short lower-case hex: fingerprints and stack ids have 12 digits. Longer hex could be a key. */
function isDigest(value: string): boolean {
  if (value.length < 8 || value.length > 16) return false
  for (let index = 0; index < value.length; index += 1) {
    const code = value.charCodeAt(index)
    if (!((code >= 48 && code <= 57) || (code >= 97 && code <= 102))) return false
  }
  return true
}
