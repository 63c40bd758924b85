import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, it } from 'vitest'
import { noteFrames, takeFrames } from '../../src/callers/stack-frames.ts'

const { stackTraceLimit } = Error
const prepareDescriptor = Object.getOwnPropertyDescriptor(Error, 'prepareStackTrace')

afterEach(() => {
  Error.stackTraceLimit = stackTraceLimit
  if (prepareDescriptor) Object.defineProperty(Error, 'prepareStackTrace', prepareDescriptor)
})

function door() {
  return takeFrames(door)
}

/** Names of the frames of this file. */
function names(frames: ReturnType<typeof takeFrames>): string[] {
  return frames.filter(({ file }) => file.includes('stack-frames.test.ts')).map(({ functionName }) => functionName)
}

describe('the frames of a stack', () => {
  it('begin with the caller of the door and carry its file and line', () => {
    function askForToken() {
      return door()
    }
    const [first] = askForToken()
    expect(first).toMatchObject({ functionName: 'askForToken', isAsync: false })
    expect(first?.file).toContain('stack-frames.test.ts')
    expect(first?.line).toBeGreaterThan(20)
    expect(first?.column).toBeGreaterThan(0)
  })

  it('keep the chain of awaits', async () => {
    async function inner() {
      await undefined
      return door()
    }
    async function middle() {
      const frames = await inner()
      return frames
    }
    async function outer() {
      const frames = await middle()
      return frames
    }
    const frames = await outer()
    expect(names(frames).slice(0, 3)).toEqual(['inner', 'middle', 'outer'])
    const ours = frames.filter(({ file }) => file.includes('stack-frames.test.ts'))
    expect(ours.slice(0, 3).map(({ isAsync }) => isAsync)).toEqual([false, true, true])
  })

  it('are no more than asked for', () => {
    const take = () => takeFrames(take, 5)
    const dive = (depth: number): ReturnType<typeof takeFrames> => (depth === 0 ? take() : dive(depth - 1))
    expect(dive(50)).toHaveLength(5)
  })

  it.each([0, 1, Number.NaN, undefined, 'many'])('come whatever the application set stackTraceLimit to (%s), which stays so', limit => {
    Error.stackTraceLimit = limit as number
    const frames = door()
    const after = Error.stackTraceLimit
    Error.stackTraceLimit = stackTraceLimit
    expect(frames.length).toBeGreaterThan(1)
    expect(after).toBe(limit)
  })

  it('come past a prepareStackTrace of the application, which stays in place and is not called', () => {
    let called = 0
    const own = () => {
      called += 1
      return 'mine'
    }
    Error.prepareStackTrace = own
    const frames = door()
    const after = Error.prepareStackTrace
    const stack = new Error('theirs').stack
    Object.defineProperty(Error, 'prepareStackTrace', prepareDescriptor ?? {})
    expect(frames[0]?.file).toContain('stack-frames.test.ts')
    expect(after).toBe(own)
    expect(stack).toBe('mine')
    expect(called).toBe(1)
  })

  it('are missing, and nothing breaks, where the application guards Error with accessors', () => {
    Object.defineProperty(Error, 'prepareStackTrace', { configurable: true, get: () => () => 'guarded', set: () => undefined })
    const frames = door()
    Object.defineProperty(Error, 'prepareStackTrace', prepareDescriptor ?? {})
    expect(frames).toEqual([])
  })

  it('are missing, and nothing breaks, where the application has made Error read-only', () => {
    Object.defineProperty(Error, 'stackTraceLimit', { value: 10, writable: false, configurable: true })
    const frames = door()
    Object.defineProperty(Error, 'stackTraceLimit', { value: stackTraceLimit, writable: true, configurable: true })
    expect(frames).toEqual([])
  })

  it('name code without a file as such', () => {
    const frames = runInNewContext('(function evaluated() { return door() })()', { door }) as ReturnType<typeof takeFrames>
    expect(frames[0]).toMatchObject({ functionName: 'evaluated', file: 'evalmachine.<anonymous>' })
  })
})

describe('frames that are noted', () => {
  it('are, when they are asked for later, those of the moment they were noted in', async () => {
    const note = () => noteFrames(note)
    async function askForToken() {
      await undefined
      return note()
    }
    const noted = await askForToken()
    Error.prepareStackTrace = () => 'the application’s'
    expect(names(noted() as ReturnType<typeof takeFrames>)[0]).toBe('askForToken')
    expect(noted()).toBe(noted())
    expect(new Error('x').stack).toBe('the application’s')
  })

  it('are none where the application has locked Error up', () => {
    const note = () => noteFrames(note)
    Object.defineProperty(Error, 'prepareStackTrace', {
      configurable: true,
      get: () => undefined,
      set: () => {
        throw new TypeError('locked')
      },
    })
    expect(note()()).toEqual([])
  })
})
