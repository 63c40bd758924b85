import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import type { Browser, BrowserContext } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ProfileSnapshot } from '../../src/calls/profile-snapshot.ts'
import type { Diagnosis } from '../../src/diagnose/diagnose.ts'
import type { GatewatchEvent } from '../../src/domain/events.ts'
import { OpsPage } from '../../src/ops/ops-page.ts'
import { opsRouter } from '../../src/ops/ops-router.ts'
import { memoryWorld } from '../events/world-events.ts'
import { afterwards } from '../support/clean-up.ts'
import { chromiumPath, launchChromium } from './chromium.ts'
import { openPage } from './open-page.ts'

/** A name of a profile, a caller or an error that tries to take the page over. */
const HOSTILE = '<img src=x onerror="globalThis.taken=1"><script>globalThis.taken=1</script>{{7*7}}\u202e|`](javascript:alert(1))'
const TRACE_ID = 'ab'.repeat(16)

const chromium = chromiumPath()

/** Events that no redaction has seen: the page must stand by itself. */
function hostileEvents(): GatewatchEvent[] {
  const caller = { label: `${HOSTILE}#${HOSTILE}`, kind: 'code', file: 'a.ts', line: 1, stackId: HOSTILE }
  const base = {
    ...{ traceId: TRACE_ID, startMs: Date.now() - 1_000, durationMs: 5, links: [], steps: [], isError: false, standsFor: 1 },
    caller: { ...caller, stack: `${HOSTILE} (${HOSTILE}:1:1)\nf (a.ts:1:1)` },
    ...{ provider: HOSTILE, profile: HOSTILE, outcome: HOSTILE },
  }
  const request = { reason: HOSTILE, via: 'bypass', providerErrorCode: HOSTILE, requestFields: `${HOSTILE}=opaque:1`, replay: true }
  const fallback = { name: 'fallback', atMs: base.startMs, fallbackFrom: HOSTILE, fallbackTo: HOSTILE, fallbackReason: HOSTILE }
  return [
    { ...base, kind: 'token_request', spanId: '1', grant: 'refresh', isError: true, refreshFingerprintBefore: HOSTILE, ...request },
    { ...base, kind: 'attempt', spanId: '2', model: HOSTILE, genaiOperation: HOSTILE },
    { ...base, kind: 'call', spanId: '3', steps: [fallback] },
  ] as unknown as GatewatchEvent[]
}

async function hostileServer(): Promise<string> {
  const { store } = memoryWorld()
  for (const event of hostileEvents()) store.take(event)
  const profile: ProfileSnapshot = {
    profile: HOSTILE,
    provider: HOSTILE,
    type: 'oauth',
    billing: HOSTILE,
    state: 'needs_login',
    serves: false,
    needsLogin: { outcome: HOSTILE, since: '', providerCode: HOSTILE },
  }
  const finding = {
    kind: HOSTILE,
    severity: HOSTILE,
    title: HOSTILE,
    what: HOSTILE,
    confidence: HOSTILE,
    profiles: [HOSTILE],
    remedy: [HOSTILE],
    traceIds: [HOSTILE],
  }
  const findings = [finding] as unknown as Diagnosis['findings']
  const checked = { events: 3, unreadable: 0 } as Diagnosis['checked']
  const page = new OpsPage({
    ...{ kind: 'gateway', title: HOSTILE, version: HOSTILE, canProbe: false, events: store, trouble: () => HOSTILE },
    profiles: async () => [profile],
    findings: async () => ({ findings, checked }),
  })
  const server = createServer(express().use(opsRouter(page, (_request, _response, next) => next())))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  afterwards(() => {
    page.stop()
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

describe.skipIf(chromium === undefined)('hostile names on the ops page', () => {
  let browser: Browser
  let context: BrowserContext
  beforeAll(async () => {
    browser = await launchChromium(chromium ?? '')
    context = await browser.newContext()
  })
  afterAll(() => browser?.close())

  it.each(['refreshes', 'bypasses', 'profiles', 'fallback', 'calls', 'findings', `trace/${TRACE_ID}`])(
    'are text and nothing else: %s',
    async view => {
      const { page, faults, acquire } = await openPage(context, await hostileServer())
      await acquire(`#/${view}`)
      await page.waitForTimeout(800)
      expect(await page.locator('main').textContent()).toContain('<img src=x onerror')
      expect(await page.locator('img, main script, iframe, object, embed').count()).toBe(0)
      expect(await page.evaluate(() => 'taken' in globalThis)).toBe(false)
      const links = await page.locator('a').evaluateAll(all => all.map(link => link.getAttribute('href') ?? ''))
      expect(links.filter(href => !/^(?:#|ops\/)/.test(href))).toEqual([])
      expect(faults).toEqual([])
      await page.close()
    },
  )

  it('come out of an address as text as well', async () => {
    const { page, faults, acquire } = await openPage(context, await hostileServer())
    await acquire(
      `#/refreshes?profile=${encodeURIComponent(HOSTILE)}&pick=${encodeURIComponent(HOSTILE)}&frame=${encodeURIComponent(HOSTILE)}&window=${encodeURIComponent(HOSTILE)}`,
    )
    await page.waitForTimeout(300)
    await page.goto(`${page.url().split('#')[0]}#/__proto__/constructor?__proto__=1`)
    await page.locator('[data-view="refreshes"]').waitFor()
    expect(await page.evaluate(() => 'taken' in globalThis)).toBe(false)
    expect(faults).toEqual([])
    await page.close()
  })
})
