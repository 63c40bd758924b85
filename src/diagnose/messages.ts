import type { GatewatchEvent } from '../domain/events.ts'
import { callerPlace } from './evidence.ts'
import type { CountedWord } from './finding.ts'

/** `1 token request`, `3 token requests`. */
export function times(count: number, noun: string): string {
  if (count === 1) return `1 ${noun}`
  return `${count} ${noun}${noun.endsWith('sh') ? 'es' : 's'}`
}

/** `process 4711 (gateway.js)`, where the process is known. */
export function processName({ process }: GatewatchEvent): string {
  return process ? `process ${process.pid} (${process.title})` : 'the process'
}

/** Who called, with file and line where code did: `answer (src/agent.ts:12)`. */
export function callerText(event: GatewatchEvent): string {
  const { label, file } = event.caller
  if (file === undefined) return label
  return `${label.startsWith(`${file}#`) ? label.slice(file.length + 1) : label} (${callerPlace(event)})`
}

/** `invalid_grant 3, timeout 1`. */
export function countsText(words: readonly CountedWord[]): string {
  return words.map(({ word, count }) => `${word} ${count}`).join(', ')
}

/** Words, the most frequent first. */
export function countWords(words: Iterable<string | undefined>): CountedWord[] {
  const counts = new Map<string, number>()
  for (const word of words) if (word !== undefined) counts.set(word, (counts.get(word) ?? 0) + 1)
  return [...counts].map(([word, count]) => ({ word, count })).sort((a, b) => b.count - a.count)
}

/** What the provider answered: its code, or what the answer comes to. */
export function answerText(event: GatewatchEvent | undefined): string | undefined {
  const code = event && 'providerErrorCode' in event ? event.providerErrorCode : undefined
  return code ?? (event && 'outcome' in event ? event.outcome : undefined)
}

export function isoTime(epochMs: number): string {
  return new Date(epochMs).toISOString()
}

/** For the beginning of a sentence. */
export function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
