import { request as httpRequest } from 'node:http'
import { describe, expect, it } from 'vitest'
import { awaitRedirect } from '../../src/login/browser-login.ts'
import { afterwards } from '../support/clean-up.ts'

const STATE = 'the-state-of-this-login'
const CODE = 'ac_a-code-that-no-page-may-show'

async function waiting(redirectUrl = 'http://127.0.0.1/callback') {
  const redirect = await awaitRedirect({ redirectUrl, state: STATE })
  afterwards(() => redirect.finish(false))
  return redirect
}

/** By `node:http`: it sends a `Host` that fetch refuses to. */
function statusFor(url: string, host: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(url, { headers: { host } }, answer => {
      answer.resume()
      resolve(answer.statusCode)
    })
    outgoing.on('error', reject)
    outgoing.end()
  })
}

describe('the browser that is awaited on loopback', () => {
  it('brings the code, and ends at an address without it that shows nothing of it', async () => {
    const redirect = await waiting()
    const brought = redirect.redirected(new AbortController().signal)
    const coming = fetch(`${redirect.url}?code=${CODE}&state=${STATE}`)
    expect((await brought).get('code')).toBe(CODE)
    const [page] = await Promise.all([coming, redirect.finish(true)])
    expect(page.url).toBe(new URL('/signed-in', redirect.url).href)
    const shown = (await page.text()) + JSON.stringify([...page.headers])
    expect(shown).toContain('You can close this window')
    for (const secret of [CODE, STATE]) expect(shown).not.toContain(secret)
    await expect(fetch(redirect.url)).rejects.toThrow()
  })

  it('takes any free port where the provider does not mind, and the one it wants where it does', async () => {
    const free = await waiting()
    expect(Number(new URL(free.url).port)).toBeGreaterThan(0)
    await free.finish(false)
    expect((await waiting(free.url)).url).toBe(free.url)
  })

  it('is heard under either address of localhost', async () => {
    const redirect = await waiting('http://localhost/auth/callback')
    const { port } = new URL(redirect.url)
    expect(new URL(redirect.url).hostname).toBe('localhost')
    expect(await statusFor(`http://127.0.0.1:${port}/auth/callback?state=wrong`, `localhost:${port}`)).toBe(400)
  })

  it('is not taken for a page that calls this machine by another name', async () => {
    const redirect = await waiting()
    const { port } = new URL(redirect.url)
    expect(await statusFor(`${redirect.url}?code=${CODE}&state=${STATE}`, `rebound.example:${port}`)).toBe(404)
  })

  it('is waited for no longer than the signal allows', async () => {
    const redirect = await waiting()
    const givenUp = new AbortController()
    const brought = redirect.redirected(givenUp.signal)
    givenUp.abort(new Error('given up'))
    await expect(brought).rejects.toThrow('given up')
  })
})
