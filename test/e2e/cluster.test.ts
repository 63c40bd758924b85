import { describe, expect, it } from 'vitest'
import { startChild } from '../support/child-process.ts'
import { parseOpenMetrics } from '../support/open-metrics-parser.ts'

// Seen: two workers of a cluster answered /metrics each with its own counters, so that they jumped from scrape to scrape; what a
// worker had counted was gone with it. Why: no process knew of the others. Fix: workers send their series to the primary, over a
// socket beside the cluster's own channel, and every process answers with the sum. Issue 24.

interface Member {
  readonly id: number
  readonly pid: number
  readonly port: number
}

const APPLICATION = new URL('fixtures/cluster.ts', import.meta.url)

/** An application with so many workers. */
async function world({ workers = 2, primary = 'gatewatch' }: { workers?: number; primary?: 'gatewatch' | 'none' } = {}) {
  const child = startChild(APPLICATION, String(workers), primary)
  const members: Member[] = []
  const joined = async () => {
    const member = JSON.parse(await child.line()) as Member
    members.push(member)
    return member
  }
  while (members.length <= workers) await joined()
  const of = (id: number) => members.find(member => member.id === id) as Member
  const ask = async (id: number, path: string) => await fetch(`http://127.0.0.1:${of(id).port}${path}`, { headers: ACCEPT })
  return {
    child,
    of,
    joined,
    ask,
    call: async (id: number, times: number) => {
      for (let call = 0; call < times; call += 1) await (await ask(id, '/call')).text()
    },
    /** Calls by profile, as this process answers. */
    calls: async (id: number) => {
      const families = parseOpenMetrics(await (await ask(id, '/metrics')).text())
      const samples = families.find(({ name }) => name === 'gatewatch_attempt_duration_seconds')?.samples ?? []
      const counts = samples.filter(({ name }) => name.endsWith('_count'))
      return Object.fromEntries(counts.map(({ labels, value }) => [labels.profile, value]))
    },
    faults: async (id: number) => (await (await ask(id, '/faults')).json()) as string[],
  }
}

const ACCEPT = { accept: 'application/openmetrics-text; version=1.0.0' }

describe('a cluster', () => {
  it('answers a scrape of any process with the sum of all, byte for byte the same', async () => {
    const w = await world({ workers: 3 })
    await w.call(0, 1)
    await w.call(1, 2)
    await w.call(2, 3)
    await w.call(3, 4)
    const expected = { 'acme:of-0': 1, 'acme:of-1': 2, 'acme:of-2': 3, 'acme:of-3': 4 }
    for (const id of [0, 1, 2, 3]) expect(await w.calls(id)).toEqual(expected)
    const texts = await Promise.all([0, 1, 2, 3].map(async id => (await w.ask(id, '/metrics')).text()))
    expect(new Set(texts).size).toBe(1)
    expect(texts[0]?.match(/^target_info/gm)).toHaveLength(1)
    // A profile that every process observes is one.
    expect(texts[0]).toMatch(/^gatewatch_profile_state\{profile="acme:shared",provider="acme",state="ready"\} 1$/m)
    for (const id of [0, 1, 2, 3]) expect(await w.faults(id)).toEqual([])
  })

  it('keeps what a worker counted that is killed, exits or closes its Gatewatch, and adds what a new one counts', async () => {
    const w = await world({ workers: 3 })
    for (const id of [1, 2, 3]) await w.call(id, 5)
    expect(await w.calls(0)).toEqual({ 'acme:of-1': 5, 'acme:of-2': 5, 'acme:of-3': 5 })
    process.kill(w.of(1).pid, 'SIGKILL')
    await w.call(2, 1)
    await w.ask(2, '/exit').catch(() => undefined)
    await w.call(3, 2)
    await w.ask(3, '/close')
    const afterwards = { 'acme:of-1': 5, 'acme:of-2': 6, 'acme:of-3': 7 }
    expect(await w.calls(0)).toEqual(afterwards)
    w.child.say('fork\n')
    const { id } = await w.joined()
    await w.call(id, 1)
    expect(await w.calls(id)).toEqual({ ...afterwards, 'acme:of-4': 1 })
    expect(await w.calls(0)).toEqual({ ...afterwards, 'acme:of-4': 1 })
  })

  it('counts a worker that hangs with what it sent last, and others with what they count on', async () => {
    const w = await world()
    await w.call(1, 3)
    expect(await w.calls(2)).toEqual({ 'acme:of-1': 3 })
    process.kill(w.of(1).pid, 'SIGSTOP')
    try {
      await w.call(2, 1)
      expect(await w.calls(2)).toEqual({ 'acme:of-1': 3, 'acme:of-2': 1 })
    } finally {
      process.kill(w.of(1).pid, 'SIGCONT')
    }
  })

  it("leaves the application's own messages and listeners alone", async () => {
    const w = await world()
    await w.call(1, 1)
    await w.calls(2)
    w.child.say('ask\n')
    const echoes = [await w.child.line(), await w.child.line()].map(line => JSON.parse(line) as { echo: string })
    expect(echoes.map(({ echo }) => echo)).toEqual(['ask', 'ask'])
    await w.ask(0, '/close')
    w.child.say('listeners\n')
    expect(JSON.parse(await w.child.line())).toEqual([['message', 1]])
    w.child.signal('SIGKILL')
    expect((await w.child.exit).stderr).toBe('')
  })

  it('whose primary has no Gatewatch answers for each worker alone, and says so once', async () => {
    const w = await world({ primary: 'none' })
    await w.call(1, 1)
    await w.call(2, 2)
    expect(await w.calls(1)).toEqual({ 'acme:of-1': 1 })
    expect(await w.calls(2)).toEqual({ 'acme:of-2': 2 })
    await w.calls(2)
    expect(await w.faults(2)).toEqual([expect.stringContaining('create a Gatewatch in the primary process')])
  })
})
