import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { runbookPage } from '../../src/server/operator-endpoints.ts'
import { gatewayWorld } from '../support/gateway-world.ts'

const RULES = readFileSync(new URL('../../dashboards/generated/gatewatch.rules.yml', import.meta.url), 'utf8')

describe('the runbook page', () => {
  it('has an anchor for the link of every alert', async () => {
    const page = await runbookPage()
    const anchors = [...RULES.matchAll(/runbook_url: "[^"#]*#([^"]+)"/g)].map(([, anchor]) => anchor)
    expect(anchors.length).toBeGreaterThan(10)
    expect(anchors.filter(anchor => !page.includes(`id="${anchor}"`))).toEqual([])
  })

  it('is served to operators, and may load nothing', async () => {
    const w = await gatewayWorld()
    const answer = await fetch(`${w.url}/ops/runbook`)
    expect(answer.headers.get('content-type')).toContain('text/html')
    expect(answer.headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(await answer.text()).toContain('<h2 id="gatewatchbypass">GatewatchBypass</h2>')
  })
})
