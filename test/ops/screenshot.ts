import { statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startDemo } from '../../src/simulator/demo/demo.ts'
import { chromiumPath, launchChromium } from './chromium.ts'
import { openPage } from './open-page.ts'

/** Renews the picture of the ops page in docs/ops-page.md: the demo, a minute after it began. */
const PICTURE = join(import.meta.dirname, '../../dashboards/ops-page.png')
const STORY_MS = 62_000
const MOST_BYTES = 300_000

const chromium = chromiumPath()
if (chromium === undefined) process.exit(1)
const demo = await startDemo({ port: 0 })
const browser = await launchChromium(chromium)
try {
  process.stdout.write(`the demo plays for ${STORY_MS / 1_000} s\n`)
  await sleep(STORY_MS)
  const { page, acquire } = await openPage(await browser.newContext(), demo.gatewayUrl, {
    viewport: { width: 1_280, height: 860 },
    colorScheme: 'light',
  })
  await acquire('#/refreshes')
  await page.locator('.icicle g.frame').first().waitFor()
  await sleep(1_000)
  await page.screenshot({ path: PICTURE })
  const { size } = statSync(PICTURE)
  process.stdout.write(`${PICTURE}: ${size} bytes\n`)
  if (size > MOST_BYTES) process.exitCode = 1
} finally {
  await browser.close()
  await demo.stop()
}
