import type { BrowserContext, Page } from 'playwright-core'

/** A page in a browser with what went wrong on it. */
export interface OpenPage {
  readonly page: Page
  /** Errors and warnings of the console, exceptions, failed requests, and requests to another host. Must stay empty. */
  readonly faults: string[]
  /** Goes to a view and waits until it is shown. */
  acquire(address: string): Promise<void>
  /** What a figure says, by its label. */
  figure(label: string): Promise<string>
  /** The cells of a table, row by row. */
  cells(table: string): Promise<string[][]>
}

interface PageLook {
  readonly viewport?: { readonly width: number; readonly height: number }
  readonly colorScheme?: 'light' | 'dark'
}

/**
 * Opens a page of the gateway at `url`. Tests share a context: another one costs a second of CPU, and every gateway is an origin of its own.
 */
export async function openPage(
  context: BrowserContext,
  url: string,
  { viewport = { width: 1440, height: 900 }, colorScheme = 'light' }: PageLook = {},
): Promise<OpenPage> {
  const page = await context.newPage()
  await page.setViewportSize(viewport)
  await page.emulateMedia({ colorScheme })
  page.setDefaultTimeout(20_000)
  const faults: string[] = []
  const { host } = new URL(url)
  page.on('console', message => ['error', 'warning'].includes(message.type()) && faults.push(`console: ${message.text()}`))
  page.on('pageerror', error => faults.push(`exception: ${error.message}`))
  page.on('request', request => {
    if (/^https?:/.test(request.url()) && new URL(request.url()).host !== host) faults.push(`another host: ${request.url()}`)
  })
  page.on('response', response => response.status() >= 400 && faults.push(`${response.status()}: ${response.url()}`))
  return {
    page,
    faults,
    async acquire(address) {
      await page.goto(`${url}/ops${address}`)
      await page.locator(`[data-view="${/^#\/(\w+)/.exec(address)?.[1] ?? 'refreshes'}"]`).waitFor()
    },
    figure: async label =>
      (
        await page
          .locator('.figure', { has: page.locator('dt', { hasText: new RegExp(`^${label}$`) }) })
          .locator('dd')
          .innerText()
      ).trim(),
    cells: table =>
      page
        .locator(`[data-scroll="${table}"] tbody tr`)
        .evaluateAll(rows => rows.map(row => [...row.children].map(cell => (cell.textContent ?? '').trim()))),
  }
}
