import { framesOf } from '../events/queries/stack-frames.ts'
import type { Aggregates } from './aggregates.ts'
import type { CountedStack, FrameLine, StackNode, StacksAnswer } from './api-types.ts'
import { matchingRefreshes, type QueryParams } from './query-params.ts'

interface Growing {
  readonly frame: FrameLine
  count: number
  failures: number
  readonly children: Map<string, Growing>
}

/** Stacks of one tree; the rarest are left out of a larger one. */
const MOST_STACKS = 1_000
const NO_STACK: FrameLine = { name: 'no stack recorded', file: '', line: 0, application: false, caller: false }

/** The stacks that trigger refresh, as a tree from the outermost frame inwards. */
export function stacksAnswer(aggregates: Aggregates, query: QueryParams): StacksAnswer {
  const stacks = countedStacks(aggregates, query)
  const root: Growing = { frame: { ...NO_STACK, name: 'all refreshes' }, count: 0, failures: 0, children: new Map() }
  for (const { frames, count, failures } of stacks) {
    let node = root
    grow(node, count, failures)
    for (const frame of frames) {
      const key = `${frame.name}\0${frame.file}\0${frame.line}`
      let child = node.children.get(key)
      if (!child) {
        child = { frame, count: 0, failures: 0, children: new Map() }
        node.children.set(key, child)
      }
      node = child
      grow(node, count, failures)
    }
  }
  return { root: nodeOf(root), stacks: stacks.length }
}

/** The stacks of the wanted refreshes, the most frequent first. */
export function countedStacks(aggregates: Aggregates, query: QueryParams): CountedStack[] {
  const counts = new Map<string, { count: number; failures: number }>()
  for (const { stackId, failed } of matchingRefreshes(aggregates, query)) {
    const known = aggregates.stacks.has(stackId) ? stackId : ''
    const count = counts.get(known) ?? { count: 0, failures: 0 }
    count.count += 1
    if (failed) count.failures += 1
    counts.set(known, count)
  }
  return [...counts]
    .sort(([, a], [, b]) => b.count - a.count)
    .slice(0, MOST_STACKS)
    .map(([stackId, count]) => ({ ...count, frames: outermostFirst(aggregates, stackId) }))
}

function outermostFirst(aggregates: Aggregates, stackId: string): FrameLine[] {
  const detail = aggregates.stacks.get(stackId)
  const frames = detail ? framesOf(detail.stack, detail) : []
  return frames.length === 0 ? [NO_STACK] : frames.reverse()
}

function grow(node: Growing, count: number, failures: number): void {
  node.count += count
  node.failures += failures
}

function nodeOf({ frame, count, failures, children }: Growing): StackNode {
  const { name, file, line, application } = frame
  const below = [...children.values()].sort((a, b) => b.count - a.count).map(nodeOf)
  return { name, file, line, application, count, failures, children: below }
}
