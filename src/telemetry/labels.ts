import {
  DROPPABLE_LABELS,
  type DroppableLabel,
  LABEL_LABEL,
  LABELS,
  type LabelDefinition,
  OTHER,
  PROFILE_LABELS,
} from '../../otel/semconv.ts'
import { secretChanges } from '../tools/secret-registry.ts'
import { redactText } from './redaction-patterns.ts'

/** Longest label value, in characters. */
const LONGEST = 120

/** Labels that metrics do not have, and what stands for profiles in those they have. Spans and events keep both. */
export interface LabelPolicy {
  /** @default [] */
  readonly drop?: readonly DroppableLabel[]
  /** The group of a profile, by the name that telemetry has for it. @default the name itself */
  readonly groupOf?: ((profileName: string) => string) | undefined
}

type Asked = Readonly<Record<string, string | number | undefined>>

/** What a policy makes of the labels of a measurement; `undefined` where it changes none. */
export function labelReducer({ drop = [], groupOf }: LabelPolicy): ((asked: Asked) => Asked) | undefined {
  const dropped = new Set(drop.flatMap(label => DROPPABLE_LABELS[label]))
  if (dropped.size === 0 && !groupOf) return undefined
  return asked => {
    const reduced: Record<string, string | number | undefined> = {}
    for (const label in asked) {
      const value = asked[label]
      if (dropped.has(label)) continue
      reduced[label] = groupOf && typeof value === 'string' && PROFILE_LABELS.includes(label) ? groupOf(value) : value
    }
    return reduced
  }
}

/** What is known of one label. */
interface Known {
  readonly definition: LabelDefinition
  /** Values as they came, with what they are shown as. Holds no value that was changed: it may have been a secret. */
  readonly shown: Map<string, string>
  /** Values that were minted; the cap counts these. */
  readonly minted: Set<string>
}

/**
 * Keeps label values bounded: a closed list lets only its values through, a capped label mints so many distinct values
 * per process and shows the rest as `_other`.
 *
 * Without this, a caller or model name that a client controls grows the series of every metric without end.
 */
export class LabelLimiter {
  readonly #known = new Map<string, Known>()
  readonly #onOverflow: (label: string) => void
  #shownAt = secretChanges()

  constructor(onOverflow: (label: string) => void) {
    this.#onOverflow = onOverflow
  }

  /** The value as it may stand in the label `key`. Unknown labels are the programmer's mistake. @throws {TypeError} */
  value(key: string, value: string | number): string {
    if (this.#shownAt !== secretChanges()) {
      // A key or token came into use since: a value shown before may hold it.
      this.#shownAt = secretChanges()
      for (const { shown } of this.#known.values()) shown.clear()
    }
    const known = this.#known.get(key) ?? this.#learn(key)
    const text = typeof value === 'number' ? String(value) : value
    return known.shown.get(text) ?? this.#mint(key, text, known)
  }

  #learn(key: string): Known {
    const definition = LABELS[key]
    if (!definition) throw new TypeError(`label ${key} is not in otel/semconv.ts`)
    const known: Known = { definition, shown: new Map(), minted: new Set() }
    this.#known.set(key, known)
    return known
  }

  #mint(key: string, text: string, { definition, shown, minted }: Known): string {
    // Cut twice: before, so that a huge text costs little; after, because a name may be longer than what it hides.
    const safe = definition.values ? text : redactText(text.slice(0, LONGEST * 4)).slice(0, LONGEST)
    const allowed = definition.values ? definition.values.includes(text) : minted.has(safe) || minted.size < (definition.cap ?? 0)
    if (!allowed) {
      // The overflow counter's own label must not overflow into itself.
      if (key !== LABEL_LABEL) this.#onOverflow(key)
      return OTHER
    }
    minted.add(safe)
    if (safe === text) shown.set(text, safe)
    return safe
  }
}
