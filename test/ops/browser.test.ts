import { mkdirSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import type { Browser, BrowserContext } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { serveGatewatch } from '../../src/server/server.ts'
import { chromiumPath, launchChromium } from './chromium.ts'
import { type OpenPage, openPage } from './open-page.ts'
import { CODEX, type OpsWorld, opsWorld, reportStory } from './ops-world.ts'

const OUTPUT = join(import.meta.dirname, '../output/ops')
const VIEWS = ['refreshes', 'bypasses', 'profiles', 'fallback', 'calls', 'findings'] as const
const TRIES = 3
/** A name of the gateway that is none of loopback. */
const ELSEWHERE = 'gateway.example'
/** Many steps in a real browser; each of them has its own limit. */
const LONGEST_MS = 120_000

const chromium = chromiumPath()

describe.skipIf(chromium === undefined)('the ops page in Chromium', { timeout: LONGEST_MS }, () => {
  let browser: Browser
  let context: BrowserContext
  const opened: OpenPage[] = []

  beforeAll(async () => {
    browser = await launchChromium(chromium ?? '', `--host-resolver-rules=MAP ${ELSEWHERE} 127.0.0.1`)
    context = await browser.newContext()
  })
  afterAll(() => browser?.close())
  afterEach(async () => {
    for (const { page, faults } of opened.splice(0)) {
      await page.close()
      expect(faults).toEqual([])
    }
  })

  async function open(url: string, options: Parameters<typeof openPage>[2] = {}): Promise<OpenPage> {
    const page = await openPage(context, url, options)
    opened.push(page)
    return page
  }

  async function report(): Promise<OpsWorld> {
    const w = await opsWorld()
    await reportStory(w)
    return w
  }

  it('shows in each view the numbers that recorder and metrics hold', async () => {
    const w = await report()
    const sum = async (key: Parameters<typeof w.series>[0]) => String((await w.series(key)).reduce((all, { value }) => all + value, 0))
    const page = await open(w.url)

    await page.acquire('#/refreshes')
    expect(await page.figure('Refreshes')).toBe(await sum('refreshDuration'))
    const counts = await w.watch.events.counts()
    expect((await page.cells('callers')).map(cells => [cells[1], cells[2], cells[3], cells[5]])).toEqual(
      counts.refreshes.map(({ reason, via, outcome, count }) => [reason, via, outcome, String(count)]),
    )
    expect((await page.cells('acquisitions')).map(cells => [cells[1], cells[2], cells[3]])).toEqual(
      counts.acquisitions.map(({ reason, decision, count }) => [reason, decision, String(count)]),
    )
    await page.page.locator('.icicle g.frame').first().waitFor()

    await page.acquire('#/bypasses')
    expect(await page.figure('Past the gate')).toBe(await sum('bypasses'))
    expect(await page.figure('Tokens replayed')).toBe('1')
    await expect.poll(() => page.page.locator('.frame-caller').first().innerText()).toContain('goPastTheGate')

    await page.acquire('#/profiles')
    const generation = page.page.locator('section', { hasText: CODEX }).locator('.facts div', { hasText: 'Generation' }).locator('dd')
    expect(await generation.innerText()).toBe(await sum('generation'))

    await page.acquire('#/fallback')
    expect((await page.figure('Fell back')).split(' ')[0]).toBe(await sum('fallbacks'))
    const fallbacks = (await page.cells('fallbacks')).map(cells => `${cells[2]?.replaceAll(' ', '_')} ${cells[3]}`)
    expect(fallbacks.sort()).toEqual(counts.fallbacks.map(({ reason, count }) => `${reason} ${count}`).sort())
    await page.page.locator('.sankey svg').waitFor()

    await page.acquire('#/calls')
    expect(await page.figure('Attempts')).toBe(await sum('attemptDuration'))
    await page.page.locator('.chart canvas').first().waitFor()

    await page.acquire('#/findings')
    const { findings } = (await w.ask('/ops/data/findings')).json
    expect(findings.length).toBeGreaterThan(0)
    expect(await page.figure('Findings')).toBe(String(findings.length))
    expect(await page.page.locator('.finding h2').allInnerTexts()).toEqual(findings.map(({ title }: { title: string }) => title))
  })

  it('shows what happens within two seconds', async () => {
    const w = await report()
    const page = await open(w.url)
    const start = performance.now()
    await page.acquire('#/refreshes')
    // A machine that needs long to show the page at all is given that much longer.
    const withinMs = 2_000 + performance.now() - start
    // A machine that is busy with other things may be late once; three times it is the page.
    let isInTime = false
    for (let tries = 0; tries < TRIES && !isInTime; tries += 1) {
      const before = Number(await page.figure('Refreshes'))
      await w.goPastTheGate()
      const seen = page.page.locator(`.figure:first-child dd:text-is("${before + 1}")`)
      isInTime = await seen.waitFor({ timeout: withinMs }).then(
        () => true,
        () => false,
      )
      // What comes late must have come before the next is counted.
      await seen.waitFor()
    }
    expect(isInTime).toBe(true)
    expect(await page.page.locator('.live').innerText()).toBe('Live')
  })

  it('finds the way back when the gateway was away', async () => {
    const port = await freePort()
    const w = await opsWorld({ listen: { port } })
    await reportStory(w)
    const { page, figure, acquire } = await openPage(context, w.url)
    await acquire('#/refreshes')
    const before = Number(await figure('Refreshes'))
    await w.serving.stop(0)
    await expect.poll(() => page.locator('.live').innerText()).toBe('Reconnecting')
    await w.goPastTheGate()
    const again = await serveGatewatch(w.watch)
    await expect.poll(() => page.locator('.live').innerText()).toBe('Live')
    await expect.poll(() => figure('Refreshes')).toBe(String(before + 1))
    await page.close()
    await again.stop(0)
  })

  it('holds still on demand', async () => {
    const w = await report()
    const page = await open(w.url)
    await page.acquire('#/refreshes')
    const before = await page.figure('Refreshes')
    await page.page.locator('.live').click()
    await expect.poll(() => page.page.locator('.live').innerText()).toBe('Paused')
    await w.goPastTheGate()
    await page.page.waitForTimeout(1_500)
    expect(await page.figure('Refreshes')).toBe(before)
    await page.page.locator('.live').click()
    await expect.poll(() => page.figure('Refreshes')).toBe(String(Number(before) + 1))
  })

  it.each([...VIEWS])('gives an address that shows the same again: %s', async view => {
    const w = await report()
    const first = await open(w.url)
    await first.acquire(`#/${view}?window=15m`)
    const select = first.page.locator('[data-key="filter:profile"]')
    if (await select.count()) {
      await select.selectOption(CODEX)
      await first.page.waitForURL(/profile=/)
    }
    const row = first.page.locator('tr.choosable').last()
    if (await row.count()) await row.click()
    const button = first.page.getByRole('button', { name: 'Failures' })
    if (await button.count()) await button.click()
    await first.page.waitForTimeout(1_200)
    const second = await open(w.url)
    await second.page.goto(first.page.url())
    await second.page.locator(`[data-view="${view}"]`).waitFor()
    // Times go on, everything else must be the same.
    const textOf = ({ page }: OpenPage) =>
      page.locator('main').evaluate(main => {
        for (const time of main.querySelectorAll('time, title, .strip-ends, .u-legend, .number'))
          if (!/^\d+$/.test(time.textContent ?? '')) time.textContent = ''
        return main.textContent
      })
    await expect.poll(async () => (await textOf(second)) === (await textOf(first))).toBe(true)
  })

  it('can be used by the keyboard alone: table, refreshes, trace, spans, and back', async () => {
    const w = await report()
    const { page, acquire } = await open(w.url)
    await acquire('#/refreshes')
    const focused = () =>
      page.evaluate<string>("document.activeElement?.getAttribute('data-key') ?? document.activeElement?.className ?? ''")
    const tabTo = async (start: string) => {
      for (let presses = 0; presses < 60; presses += 1) {
        await page.keyboard.press('Tab')
        if ((await focused()).startsWith(start)) return
      }
      throw new Error(`the tab key does not lead to ${start}`)
    }
    await page.locator('.live').click()
    await tabTo('callers:')
    const before = await focused()
    await page.keyboard.press('ArrowDown')
    expect(await focused()).not.toBe(before)
    await page.keyboard.press('Enter')
    await page.waitForURL(/pick=/)
    await page.locator('[data-scroll="lines"]').waitFor()
    expect(await focused()).toMatch(/^callers:/)
    await tabTo('trace-link')
    await page.keyboard.press('Enter')
    await page.waitForURL(/#\/trace\//)
    await page.locator('.waterfall').waitFor()
    await tabTo('span:')
    const span = await focused()
    await page.keyboard.press('ArrowDown')
    await page.keyboard.press('Enter')
    await page.waitForURL(/span=/)
    expect(await focused()).not.toBe(span)
    await page.goBack()
    await page.goBack()
    await page.waitForURL(/#\/refreshes.*pick=/)
    await page.locator('.icicle g.frame').first().waitFor()
    await tabTo('frame:')
    while (!(await focused()).includes('ops-world.ts')) await page.keyboard.press('ArrowDown')
    await page.keyboard.press('Enter')
    await page.waitForURL(/frame=/)
  })

  it('probes on demand, as a page of its own', async () => {
    const w = await report()
    const { page, acquire } = await open(w.url)
    await acquire('#/profiles')
    await page.getByRole('button', { name: 'Probe all now' }).click()
    await page.getByText('Every profile was probed.').waitFor()
    await expect.poll(() => page.getByText('never probed').count()).toBe(0)
  })

  it('asks a caller that comes from elsewhere for a key, and keeps where a deep link leads', async () => {
    const key = 'gw-key-0123456789-a'
    const w = await opsWorld({ listen: { keysEnv: 'GATEWAY_KEYS' }, environment: { GATEWAY_KEYS: key } })
    const url = w.url.replace('127.0.0.1', ELSEWHERE)
    const elsewhere = await browser.newContext()
    try {
      const { page } = await openPage(elsewhere, url)
      await page.goto(`${url}/ops#/calls?window=15m`)
      await page.fill('#key', 'wrong-key-000000000')
      await page.getByRole('button').click()
      await page.getByRole('alert').waitFor()
      await page.fill('#key', key)
      await page.getByRole('button').click()
      await page.locator('[data-view="calls"]').waitFor()
      expect(page.url()).toMatch(/#\/calls\?window=15m$/)
      expect(await page.evaluate<string>('document.cookie + JSON.stringify(localStorage)')).toBe('{}')
    } finally {
      await elsewhere.close()
    }
  })

  it('copies for people and programs, and hands out stacks for speedscope', async () => {
    const w = await report()
    await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: w.url })
    const { page, acquire } = await open(w.url)
    const clipboard = () => page.evaluate<string>('navigator.clipboard.readText()')
    for (const view of VIEWS) {
      await acquire(`#/${view}`)
      await page.getByRole('button', { name: 'Copy Markdown' }).click()
      await expect.poll(clipboard).toMatch(/^### /)
      await page.getByRole('button', { name: 'Copy JSON' }).click()
      await expect.poll(clipboard).toMatch(/^\{/)
      expect(JSON.parse(await clipboard())).toBeTypeOf('object')
    }
    await acquire('#/refreshes')
    const downloading = page.waitForEvent('download')
    await page.getByText('Stacks for speedscope').click()
    expect((await downloading).suggestedFilename()).toBe('gatewatch.speedscope.json')
  })

  // Pictures for people, in CI or with PICTURES set, cost as much as all other tests of the page.
  it('fits every view, light and dark, on a desk and on a phone', async () => {
    const w = await report()
    const takesPictures = Boolean(process.env.CI || process.env.PICTURES)
    mkdirSync(OUTPUT, { recursive: true })
    const refresh = (await w.ask('/ops/data/refresh-lines')).json.lines.at(-1)
    for (const colorScheme of ['light', 'dark'] as const) {
      for (const [device, viewport] of [
        ['desk', { width: 1440, height: 900 }],
        ['phone', { width: 390, height: 844 }],
      ] as const) {
        const { page, acquire } = await open(w.url, { colorScheme, viewport })
        for (const view of [...VIEWS, `trace/${refresh.traceId}`]) {
          await acquire(`#/${view}`)
          await page.waitForTimeout(400)
          if (takesPictures)
            await page.screenshot({ path: join(OUTPUT, `${view.split('/')[0]}-${colorScheme}-${device}.png`), fullPage: true })
          const widest = () => page.evaluate<number>('document.documentElement.scrollWidth')
          await expect.poll(async () => [view, device, await widest()]).toEqual([view, device, viewport.width])
        }
      }
    }
  })
})

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}
