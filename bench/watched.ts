import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Child } from './child.ts'
import { compiledRegister } from './compiled.ts'
import type { Contestant, Surroundings } from './variants.ts'

/** The same pass-through: unwatched, watched, and watched with deep stacks. */
export const WATCH_CONTESTANTS = ['unwatched', 'watched', 'deepStacks'] as const
export type WatchContestantId = (typeof WATCH_CONTESTANTS)[number]

const PASS_THROUGH = new URL('./processes/pass-through.ts', import.meta.url)

/**
 * Who is measured when it is about a watched process: each request of theirs makes one provider call.
 *
 * @param root Tree whose preload watches. @default this one
 */
export function watchContestants(root?: string): Readonly<Record<WatchContestantId, Contestant>> {
  return {
    unwatched: passThrough(root, 'unwatched', 'Express + undici, bare'),
    watched: passThrough(root, 'watched', 'the same, watched'),
    deepStacks: passThrough(root, 'deepStacks', 'the same, watched with --deep-stacks'),
  }
}

/**
 * Environment by which a process is watched, as `gatewatch run` would: its provider is the upstream, what is seen goes
 * into a state folder that is removed in the end.
 *
 * @param register URL of the preload.
 */
export function watchingEnvironmentOf(id: WatchContestantId, upstreamUrl: string, register: string): Record<string, string> {
  if (id === 'unwatched') return {}
  const state = temporaryFolder()
  return {
    NODE_OPTIONS: `--import=${register}`,
    GATEWATCH_WATCH: JSON.stringify({ state, apis: { [`${upstreamUrl}/v1`]: 'openai' }, gate: ['refreshWithLock'] }),
    ...(id === 'deepStacks' && { GATEWATCH_DEEP_STACKS: '1h' }),
  }
}

function passThrough(root: string | undefined, id: WatchContestantId, title: string): Contestant {
  return {
    title,
    headers: () => ({}),
    start: async ({ upstreamUrl }: Surroundings) =>
      Child.start({
        file: PASS_THROUGH,
        parameters: [upstreamUrl],
        environment: watchingEnvironmentOf(id, upstreamUrl, await compiledRegister(root)),
      }),
  }
}

/** A folder that is removed when the benchmark ends. */
export function temporaryFolder(): string {
  if (folders.length === 0) process.once('exit', () => folders.forEach(folder => void rmSync(folder, { recursive: true, force: true })))
  const folder = mkdtempSync(join(tmpdir(), 'gatewatch-bench-'))
  folders.push(folder)
  return folder
}

const folders: string[] = []
