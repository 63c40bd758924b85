import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { GENAI_REQUEST_MODEL } from '../../otel/genai-semconv.ts'
import {
  ATTR_ATTEMPT_OUTCOME,
  ATTR_CALLER,
  ATTR_CALLER_KIND,
  ATTR_CODE_FILE,
  ATTR_CODE_LINE,
  ATTR_CODE_STACK,
  ATTR_FALLBACK_FROM,
  ATTR_FALLBACK_REASON,
  ATTR_FALLBACK_TO,
  ATTR_OUTCOME,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_PROVIDER_ERROR_CODE,
  ATTR_REASON,
  ATTR_REFRESH_FINGERPRINT_BEFORE,
  ATTR_REPLAY,
  ATTR_REQUEST_FIELDS,
  ATTR_STACK_ID,
  ATTR_VIA,
  EVENT_FALLBACK,
  SPAN_CALL,
  SPAN_REFRESH,
} from '../../otel/semconv.ts'
import type { ProfileSnapshot } from '../../src/calls/profile-snapshot.ts'
import { Recorder } from '../../src/events/recorder.ts'
import type { SpanRow } from '../../src/events/span-row.ts'
import { opsPage } from '../../src/ops/ops-page.ts'
import { afterwards } from '../support/clean-up.ts'
import { chromiumPath, launchChromium } from './chromium.ts'
import { openPage } from './open-page.ts'

/** What somebody would call a profile, a caller or an error to take the page over. */
const HOSTILE = '<img src=x onerror="globalThis.taken=1"><script>globalThis.taken=1</script>{{7*7}}\u202e|`](javascript:alert(1))'
const TRACE_ID = 'ab'.repeat(16)

const chromium = chromiumPath()

/** Rows that no redaction has seen: the page must stand by itself. */
function rows(): SpanRow[] {
  const base = {
    traceId: TRACE_ID,
    parentSpanId: undefined,
    kind: 'client',
    startMs: Date.now() - 1_000,
    durationMs: 5,
    events: [],
    links: [],
  } as const
  const refresh = {
    [ATTR_PROVIDER]: HOSTILE,
    [ATTR_PROFILE]: HOSTILE,
    [ATTR_CALLER]: `${HOSTILE}#${HOSTILE}`,
    [ATTR_CALLER_KIND]: 'code',
    [ATTR_REASON]: HOSTILE,
    [ATTR_VIA]: 'bypass',
    [ATTR_OUTCOME]: HOSTILE,
    [ATTR_PROVIDER_ERROR_CODE]: HOSTILE,
    [ATTR_CODE_FILE]: 'a.ts',
    [ATTR_CODE_LINE]: 1,
    [ATTR_CODE_STACK]: `${HOSTILE} (${HOSTILE}:1:1)\nf (a.ts:1:1)`,
    [ATTR_STACK_ID]: HOSTILE,
    [ATTR_REQUEST_FIELDS]: `${HOSTILE}=opaque:1`,
    [ATTR_REFRESH_FINGERPRINT_BEFORE]: HOSTILE,
    [ATTR_REPLAY]: true,
  }
  const fallback = { [ATTR_FALLBACK_FROM]: HOSTILE, [ATTR_FALLBACK_TO]: HOSTILE, [ATTR_FALLBACK_REASON]: HOSTILE }
  return [
    { ...base, spanId: '1', name: SPAN_REFRESH, status: 'error', attributes: refresh },
    {
      ...base,
      spanId: '2',
      name: HOSTILE,
      status: 'unset',
      attributes: { [ATTR_ATTEMPT_OUTCOME]: HOSTILE, [ATTR_PROFILE]: HOSTILE, [GENAI_REQUEST_MODEL]: HOSTILE },
    },
    {
      ...base,
      spanId: '3',
      name: SPAN_CALL,
      status: 'unset',
      attributes: { [ATTR_PROFILE]: HOSTILE },
      events: [{ name: EVENT_FALLBACK, atMs: base.startMs, attributes: fallback }],
    },
  ]
}

async function hostileServer(): Promise<string> {
  const recorded = rows()
  const recorder = Object.assign(new Recorder(), { refreshSpans: () => recorded, spansOf: () => recorded, repeatedSends: () => [] })
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
  const page = opsPage(
    {
      ...{ kind: 'gateway', title: HOSTILE, version: HOSTILE, canProbe: false },
      read: query => query(recorder),
      feed(add) {
        for (const row of recorded) add(row)
        return { read: 1, trouble: HOSTILE, unreadable: 0, stop: () => undefined }
      },
      profiles: async () => [profile],
      findings: async () => [finding],
    },
    (_request, _response, next) => next(),
  )
  const server = createServer(express().use(page.router))
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
  beforeAll(async () => {
    browser = await launchChromium(chromium ?? '')
  })
  afterAll(() => browser?.close())

  it.each(['refreshes', 'bypasses', 'profiles', 'fallback', 'calls', 'findings', `trace/${TRACE_ID}`])(
    'are text and nothing else: %s',
    async view => {
      const { page, faults, acquire } = await openPage(browser, await hostileServer())
      await acquire(`#/${view}`)
      await page.waitForTimeout(800)
      expect(await page.locator('main').textContent()).toContain('<img src=x onerror')
      expect(await page.locator('img, main script, iframe, object, embed').count()).toBe(0)
      expect(await page.evaluate(() => 'taken' in globalThis)).toBe(false)
      const links = await page.locator('a').evaluateAll(all => all.map(link => link.getAttribute('href') ?? ''))
      expect(links.filter(href => !/^(?:#|\/ops\/)/.test(href))).toEqual([])
      expect(faults).toEqual([])
      await page.context().close()
    },
  )

  it('come out of an address as text as well', async () => {
    const { page, faults, acquire } = await openPage(browser, await hostileServer())
    await acquire(
      `#/refreshes?profile=${encodeURIComponent(HOSTILE)}&pick=${encodeURIComponent(HOSTILE)}&frame=${encodeURIComponent(HOSTILE)}&window=${encodeURIComponent(HOSTILE)}`,
    )
    await page.waitForTimeout(300)
    await page.goto(`${page.url().split('#')[0]}#/__proto__/constructor?__proto__=1`)
    await page.locator('[data-view="refreshes"]').waitFor()
    expect(await page.evaluate(() => 'taken' in globalThis)).toBe(false)
    expect(faults).toEqual([])
    await page.context().close()
  })
})
