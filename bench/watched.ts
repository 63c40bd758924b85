import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Child } from './child.ts'
import type { Contestant, Surroundings } from './contestants.ts'

/** The same pass-through: as it is, watched, and watched forensically. */
export const WATCH_CONTESTANTS = ['unwatched', 'watched', 'forensic'] as const
export type WatchContestantId = (typeof WATCH_CONTESTANTS)[number]

const REGISTER = new URL('../otel/register.ts', import.meta.url).href
const PASS_THROUGH = new URL('./processes/pass-through.ts', import.meta.url)

/** Who is measured when it is about a watched process: each request of theirs makes one provider call. */
export function watchContestants(): Readonly<Record<WatchContestantId, Contestant>> {
  return {
    unwatched: passThrough('Express + undici, bare', () => ({})),
    watched: passThrough('the same, watched', environment => environment),
    forensic: passThrough('the same, watched with --forensic', environment => ({ ...environment, GATEWATCH_FORENSIC: '1h' })),
  }
}

/**
 * Environment by which a process is watched, as `gatewatch run` would: its provider is the upstream, what is seen goes
 * into a state folder that is removed in the end.
 */
export function watchingEnvironment(upstreamUrl: string): Record<string, string> {
  const state = mkdtempSync(join(tmpdir(), 'gatewatch-bench-'))
  process.once('exit', () => rmSync(state, { recursive: true, force: true }))
  return {
    NODE_OPTIONS: `--import=${REGISTER}`,
    GATEWATCH_WATCH: JSON.stringify({ state, apis: { [`${upstreamUrl}/v1`]: 'openai' }, gate: ['refreshWithLock'] }),
  }
}

function passThrough(title: string, environmentOf: (watching: Record<string, string>) => Record<string, string>): Contestant {
  return {
    title,
    headers: () => ({}),
    start: ({ upstreamUrl }: Surroundings) =>
      Child.start({ file: PASS_THROUGH, parameters: [upstreamUrl], environment: environmentOf(watchingEnvironment(upstreamUrl)) }),
  }
}
