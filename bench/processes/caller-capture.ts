/** Captures callers 16 frames deep, again and again, and says what one takes, warm, in microseconds. */
import { takeCallerSite } from '../../src/callers/caller.ts'
import { noteFrames } from '../../src/callers/stack-frames.ts'
import { median } from '../statistics.ts'

const DEPTH = 16
const AT_ONCE = 200
const BATCHES = 300

/** Calls `work` from so many functions of which none is the same: a compiler that folds them into one would flatter us. */
type Dive = (work: () => unknown) => unknown

const dive = functions(DEPTH)
function noted(): unknown {
  return noteFrames(noted, DEPTH)
}
function taken(): unknown {
  return takeCallerSite(taken)
}
function nothing(): unknown {
  return undefined
}
function plainError(): unknown {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = DEPTH
  const error = new Error('the floor: what V8 itself takes')
  Error.stackTraceLimit = stackTraceLimit
  return error
}

const base = microseconds(nothing)
const result = {
  plainErrorUs: microseconds(plainError) - base,
  notedUs: microseconds(noted) - base,
  takenUs: microseconds(taken) - base,
}
process.stdout.write(JSON.stringify(result))

function microseconds(work: () => unknown): number {
  const batches = Array.from({ length: BATCHES }, () => {
    const startedAt = performance.now()
    for (let index = 0; index < AT_ONCE; index += 1) dive(work)
    return ((performance.now() - startedAt) * 1000) / AT_ONCE
  })
  // The first ones run code that is not compiled yet.
  return median(batches.slice(BATCHES / 3))
}

function functions(depth: number): Dive {
  let next: Dive = work => work()
  for (let index = 0; index < depth; index += 1) next = layer(next, index)
  return next
}

/** A function of its own, from source of its own. */
function layer(inner: Dive, index: number): Dive {
  const make = new Function(
    'inner',
    `return function layer${index}(work) { try { return inner(work) } finally { inner.calls${index} = 1 } }`,
  )
  return make(inner) as Dive
}
