import { diag } from '@opentelemetry/api'

/** Environment variables, as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>

/** The value of a variable; blank is as good as absent (OpenTelemetry's rule). */
export function variableText(environment: Environment, ...names: readonly string[]): string | undefined {
  for (const name of names) {
    const text = environment[name]?.trim()
    if (text) return text
  }
  return undefined
}

/** The words of a list `a,b`, without repetitions. */
export function listOf(environment: Environment, name: string): string[] {
  const words = (environment[name] ?? '').split(',').map(word => word.trim())
  return [...new Set(words.filter(word => word !== ''))]
}

/** A number above zero from the first of `names` that is set; anything else is said aloud and passed over. */
export function positiveNumberOf(environment: Environment, ...names: readonly string[]): number | undefined {
  for (const name of names) {
    const text = variableText(environment, name)
    if (text === undefined) continue
    const value = Number(text)
    if (Number.isFinite(value) && value > 0) return value
    diag.warn(`${name} must be a number above 0; it is left out`)
  }
  return undefined
}

export function isTrue(environment: Environment, name: string): boolean {
  return variableText(environment, name)?.toLowerCase() === 'true'
}
