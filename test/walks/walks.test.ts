import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { Session } from 'node:inspector/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT } from '../house/source-files.ts'
import { afterwards } from '../support/clean-up.ts'
import { codexLogin, gatewayWorld } from '../support/gateway-world.ts'
import { SOURCE_REGISTER } from '../support/own-programs.ts'
import { watched } from '../watch/watched.ts'
import { startServer } from '../watch/world.ts'

/** A function that V8 has counted. */
interface Entered {
  readonly url: string
  readonly functions: readonly { readonly functionName: string; readonly ranges: readonly { readonly count: number }[] }[]
}

/** A function or class that a step of a walk names, and where it says that it is. */
interface Named {
  readonly name: string
  readonly place: string
}

const MOST_STEPS = 20
const document = readFileSync(join(ROOT, 'docs/architecture.md'), 'utf8')

/** The second column of the table under a heading, row by row. */
function stepsOf(heading: string): string[] {
  const section = document.split(/^## /m).find(text => text.startsWith(heading)) ?? ''
  return [...section.matchAll(/^\| \d+ \| (.*?) \|/gm)].map(([, step = '']) => step)
}

/** Every name of a step, and the file or folder that stands behind it. @throws {Error} for a step that names none. */
function namedIn(steps: readonly string[]): Named[] {
  return steps.flatMap(step => {
    const named = [...step.matchAll(/`([#\w.]+)` in `([\w./-]+)`/g)]
    if (named.length === 0) throw new Error(`names no function and its file: ${step}`)
    return named.map(([, name = '', place = '']) => ({ name: name.split('.').at(-1) ?? name, place }))
  })
}

function missing(named: readonly Named[], entered: readonly Entered[]): string[] {
  const isEntered = ({ name, place }: Named) =>
    entered.some(
      ({ url, functions }) =>
        url.includes(place) && functions.some(({ functionName, ranges }) => functionName === name && (ranges[0]?.count ?? 0) > 0),
    )
  return named.filter(one => !isEntered(one)).map(({ name, place }) => `${name} in ${place}`)
}

describe('docs/architecture.md', () => {
  it('names only functions that a provider call enters, within twenty steps', async () => {
    const steps = stepsOf('The walk of one provider call')
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me', { firstAccessLifeMs: -1 })] })
    const session = new Session()
    session.connect()
    afterwards(() => session.disconnect())
    await session.post('Profiler.enable')
    await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
    expect((await w.responses()).status).toBe(200)
    const { result } = await session.post('Profiler.takePreciseCoverage')
    expect(steps.length).toBeGreaterThan(5)
    expect(steps.length).toBeLessThanOrEqual(MOST_STEPS)
    expect(missing(namedIn(steps), result)).toEqual([])
  })

  it('names only functions that a watched token request enters, within twenty steps', async () => {
    const steps = stepsOf('The walk of one watched token request')
    const { url } = await startServer()
    const folder = mkdtempSync(join(tmpdir(), 'gatewatch-walk-'))
    afterwards(() => rmSync(folder, { recursive: true, force: true }))
    const job = { url: `${url}/token`, tokens: { refresh: 'a-refresh-token' }, steps: [['gate']] } as const
    const { refreshes } = await watched(job, {
      environment: { NODE_OPTIONS: `--import=${SOURCE_REGISTER}`, NODE_V8_COVERAGE: folder },
    })
    expect(refreshes).toHaveLength(1)
    const entered = readdirSync(folder).flatMap(
      name => (JSON.parse(readFileSync(join(folder, name), 'utf8')) as { result: Entered[] }).result,
    )
    expect(steps.length).toBeGreaterThan(5)
    expect(steps.length).toBeLessThanOrEqual(MOST_STEPS)
    expect(missing(namedIn(steps), entered)).toEqual([])
  })
})
