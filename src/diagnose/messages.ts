import type { InputSpan } from './evidence.ts'

/** `process 4711 (gateway.js)`, where the recorder tells. */
export function processOf({ process }: Pick<InputSpan, 'process'>): string {
  return process ? `process ${process.pid} (${process.title})` : 'the process'
}

/** Who called, with file and line where code did: `answer (src/agent.ts:12)`. */
export function callerText({ caller, place }: Pick<InputSpan, 'caller' | 'place'>): string {
  if (place === undefined) return caller
  const file = place.slice(0, place.lastIndexOf(':'))
  return `${caller.startsWith(`${file}#`) ? caller.slice(file.length + 1) : caller} (${place})`
}

/** For the beginning of a sentence. */
export function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
