import type { DatabaseSync } from 'node:sqlite'
import { isJsonObject, parseJsonObject } from '../../tools/json-object.ts'
import type { CountedStack, FrameLine, StackNode, StacksAnswer } from './answers.ts'
import { type SpeedscopeFile, speedscopeFile } from './speedscope.ts'
import { framesOf } from './stack-frames.ts'
import { IS_FAILED_REFRESH, refreshCondition, selectRows, type ViewFilter, viewRange } from './view-filter.ts'

interface GrowingNode {
  readonly frame: FrameLine
  count: number
  failures: number
  readonly children: Map<string, GrowingNode>
}

/** Stacks of one tree; the rarest are left out of a larger one. */
const MOST_STACKS = 1_000
const NO_STACK: FrameLine = { name: 'no stack recorded', file: '', line: 0, application: false, caller: false }

/** The stacks that trigger refresh, as a tree from the outermost frame inwards. */
export function refreshStacks(database: DatabaseSync, filter: ViewFilter): StacksAnswer {
  const stacks = countedRefreshStacks(database, filter)
  const root: GrowingNode = { frame: { ...NO_STACK, name: 'all refreshes' }, count: 0, failures: 0, children: new Map() }
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

/** The same stacks as a file of the profile viewer speedscope. */
export function refreshSpeedscope(database: DatabaseSync, { title, ...filter }: ViewFilter & { readonly title: string }): SpeedscopeFile {
  return speedscopeFile(countedRefreshStacks(database, filter), title)
}

interface StackGroup {
  readonly count: number
  readonly failures: number
  /** `null` where none was recorded, or its text is gone. */
  readonly text: string | null
  readonly callerKind: string
  readonly rest: string
}

function countedRefreshStacks(database: DatabaseSync, filter: ViewFilter): CountedStack[] {
  const { where, values } = refreshCondition(filter, viewRange(database, filter))
  // The event of each stack is looked up once: read for each event of it, it would be sorted along.
  const groups = selectRows<StackGroup>(
    database,
    `WITH counted AS (
        SELECT stack_id, total(stands_for) AS count, total(iif(${IS_FAILED_REFRESH}, stands_for, 0)) AS failures, max(start_ms), id
        FROM event WHERE ${where} GROUP BY stack_id ORDER BY count DESC LIMIT ${MOST_STACKS})
      SELECT counted.count, counted.failures, stack.text, event.caller_kind AS callerKind, event.rest
      FROM counted CROSS JOIN event ON event.id = counted.id LEFT JOIN stack ON stack.stack_id = counted.stack_id`,
    values,
  )
  const withoutStack = groups.filter(({ text }) => text === null)
  const stacks = groups.filter(({ text }) => text !== null).map(group => ({ ...weightOf([group]), frames: outermostFirst(group) }))
  if (withoutStack.length > 0) stacks.push({ ...weightOf(withoutStack), frames: [NO_STACK] })
  return stacks.sort((a, b) => b.count - a.count)
}

function weightOf(groups: readonly StackGroup[]): Pick<CountedStack, 'count' | 'failures'> {
  const sum = (of: 'count' | 'failures') => groups.reduce((all, group) => all + group[of], 0)
  return { count: sum('count'), failures: sum('failures') }
}

function outermostFirst({ text, callerKind, rest }: StackGroup): FrameLine[] {
  const caller = parseJsonObject(rest)?.caller
  const { file, line } = isJsonObject(caller) ? caller : {}
  const place = { file: typeof file === 'string' ? file : undefined, line: typeof line === 'number' ? line : undefined }
  const frames = framesOf(text ?? '', { ...place, isCode: callerKind === 'code' })
  return frames.length === 0 ? [NO_STACK] : frames.reverse()
}

function grow(node: GrowingNode, count: number, failures: number): void {
  node.count += count
  node.failures += failures
}

function nodeOf({ frame, count, failures, children }: GrowingNode): StackNode {
  const { name, file, line, application } = frame
  const below = [...children.values()].sort((a, b) => b.count - a.count).map(nodeOf)
  return { name, file, line, application, count, failures, children: below }
}
