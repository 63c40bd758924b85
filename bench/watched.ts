import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Child } from './child.ts'
import type { Contestant, Surroundings } from './variants.ts'

/** The same pass-through: unwatched, watched, and watched with deep stacks. */
export const WATCH_CONTESTANTS = ['unwatched', 'watched', 'deepStacks'] as const
export type WatchContestantId = (typeof WATCH_CONTESTANTS)[number]

const THIS_TREE = new URL('../', import.meta.url)
const SOURCE_REGISTER = sourceRegister(THIS_TREE)
const PASS_THROUGH = new URL('./processes/pass-through.ts', import.meta.url)

/** URL of a tree's preload as source, whose types Node strips when it loads it. */
export function sourceRegister(root: URL): string {
  return registerOf(root, 'gatewatch-source')
}

/** URL of a tree's preload, where that tree's package says it is. @param base Folder in which its files are. @default the tree */
export function registerOf(root: URL, condition: 'gatewatch-source' | 'default', base = root): string {
  const manifest = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as { exports: Record<string, Record<string, string>> }
  const file = manifest.exports['./register']?.[condition]
  if (!file) throw new Error(`${root.pathname}package.json has no exports['./register'].${condition}`)
  return new URL(file, base).href
}

/**
 * Who is measured when it is about a watched process: each request of theirs makes one provider call.
 *
 * @param root Tree whose preload watches. @default this one
 */
export function watchContestants(root = THIS_TREE): Readonly<Record<WatchContestantId, Contestant>> {
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
 * @param register URL of the preload. @default the source of this tree
 */
export function watchingEnvironmentOf(id: WatchContestantId, upstreamUrl: string, register = SOURCE_REGISTER): Record<string, string> {
  if (id === 'unwatched') return {}
  const state = temporaryFolder()
  return {
    NODE_OPTIONS: `--import=${register}`,
    GATEWATCH_WATCH: JSON.stringify({ state, apis: { [`${upstreamUrl}/v1`]: 'openai' }, gate: ['refreshWithLock'] }),
    ...(id === 'deepStacks' && { GATEWATCH_DEEP_STACKS: '1h' }),
  }
}

function passThrough(root: URL, id: WatchContestantId, title: string): Contestant {
  return {
    title,
    headers: () => ({}),
    start: ({ upstreamUrl }: Surroundings) =>
      Child.start({
        file: PASS_THROUGH,
        parameters: [upstreamUrl],
        environment: watchingEnvironmentOf(id, upstreamUrl, sourceRegister(root)),
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
