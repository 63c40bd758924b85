import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { captureAsyncStack, enter, noteCaller } from '../../src/callers/async-stack.ts'

/** A library that makes its request when no caller is on the stack any more. */
function library(): Promise<string[]> {
  function enterLibrary(): Promise<string[]> {
    return enter(
      () => noteCaller(enterLibrary),
      () =>
        new Promise(resolve =>
          setTimeout(function inTheQueue() {
            resolve(namesHere())
          }, 1),
        ),
    )
  }
  return enterLibrary()
}

function namesHere(): string[] {
  return captureAsyncStack(namesHere)().map(({ functionName }) => functionName)
}

describe('the causal stack', () => {
  it('has the code that entered a library behind what the library does later', async () => {
    async function theApplication() {
      return await library()
    }
    const names = await theApplication()
    expect(names.indexOf('inTheQueue')).toBe(0)
    expect(names).toContain('theApplication')
  })

  it('distinguishes two callers that wait for the same', async () => {
    async function one() {
      return await library()
    }
    async function other() {
      return await library()
    }
    const [ofOne, ofOther] = await Promise.all([one(), other()])
    expect([ofOne.includes('one'), ofOne.includes('other'), ofOther.includes('one'), ofOther.includes('other')]).toEqual([
      true,
      false,
      false,
      true,
    ])
  })

  it('has no frame twice when the caller is still on the stack', async () => {
    async function theApplication() {
      await pause(1)
      return enter(() => noteCaller(theApplication), namesHere)
    }
    const names = await theApplication()
    expect(names.filter(name => name === 'theApplication')).toHaveLength(1)
  })

  it('keeps the outer of two entries: it is the application’s', async () => {
    async function theApplication() {
      return await enter(
        () => noteCaller(enter),
        async () => await library(),
      )
    }
    expect(await theApplication()).toContain('theApplication')
  })
})
