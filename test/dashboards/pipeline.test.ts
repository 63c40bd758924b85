import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { GATEWAY_JOB } from '../../dashboards/scrape-jobs.ts'
import * as names from '../../otel/semconv.ts'
import { SKIP_REASONS } from '../../src/domain/enums.ts'
import { redactText } from '../../src/telemetry/redaction-patterns.ts'
import { summarizeRequest } from '../../src/token-requests/request-summary.ts'
import { ROOT } from '../house/source-files.ts'
import { MASK, shippedRedaction } from '../support/collector-redaction.ts'
import { CANARIES } from '../telemetry/canaries.ts'
import { alertmanagerProgram, isInstalled } from './prometheus-server.ts'

const OTEL = join(ROOT, 'otel/pipeline')
const read = (file: string) => readFileSync(join(OTEL, file), 'utf8')
const KNOWN = new Set([...Object.values(names).filter(value => typeof value === 'string'), ...Object.keys(names.ATTRIBUTES)])

describe('the collector', () => {
  it('limits memory first, redacts next, makes metrics before it samples, and batches last', () => {
    const pipelines = pipelinesOf(read('collector.yaml'))
    expect(pipelines['traces/in']).toEqual({
      receivers: ['otlp'],
      processors: ['memory_limiter', 'redaction'],
      exporters: ['span_metrics', 'forward/unsampled'],
    })
    expect(pipelines['traces/kept']).toEqual({
      receivers: ['forward/unsampled'],
      processors: ['tail_sampling', 'batch'],
      exporters: ['otlp_grpc/tempo'],
    })
    expect(pipelines.metrics?.receivers).toEqual(['otlp', 'span_metrics'])
  })

  it('keeps every bypass and refresh, by names that exist', () => {
    const text = read('collector.yaml')
    for (const kept of ['values: [bypass]', `name == "${names.SPAN_REFRESH}"`, `key: ${names.ATTR_VIA}`]) expect(text).toContain(kept)
  })

  // Seen: 411 of 640 traces of three minutes were kept, since each call that passes over a resting profile is a fallback.
  // Issue 1, point F2.
  it('keeps the beginning of a fallback, not each call that passes over a resting profile; errors and both within a bound', () => {
    const policies = policiesOf(read('collector.yaml'))
    expect(policies.fallbacks).toContain(`name == "${names.EVENT_FALLBACK}"`)
    const [, skipped = ''] =
      /not IsMatch\(attributes\["gatewatch\.fallback\.reason"\], "\^\((.*)\)\$"\)/.exec(policies.fallbacks ?? '') ?? []
    expect(skipped.split('|')).toEqual([...SKIP_REASONS])
    for (const name of ['errors', 'fallbacks']) {
      expect(policies[name]).toMatch(/^ {8}type: and$/m)
      expect(policies[name]).toMatch(/type: rate_limiting\n +rate_limiting:\n +spans_per_second: \d+/)
    }
    expect(policies['the-rest']).toMatch(/sampling_percentage: \d+/)
  })

  it('deals out whole traces in the first tier, and samples only in the second', () => {
    const pipelines = pipelinesOf(read('collector-gateway.yaml'))
    expect(pipelines.traces).toEqual({ receivers: ['otlp'], processors: ['memory_limiter', 'redaction'], exporters: ['loadbalancing'] })
    expect(read('collector-gateway.yaml')).toContain('routing_key: traceID')
    expect(read('collector-gateway.yaml')).not.toContain('tail_sampling:')
  })

  it('redacts the same in both tiers', () => {
    const redaction = (file: string) => /\n {2}redaction:\n(?: {4}.*\n)+/.exec(read(file))?.[0]
    expect(redaction('collector.yaml')).toBeDefined()
    expect(redaction('collector-gateway.yaml')).toBe(redaction('collector.yaml'))
  })

  it('masks no attribute whole that one looks for', () => {
    const { masksKey } = shippedRedaction()
    for (const key of ['http.request.header.authorization', 'Set-Cookie', 'client_secret']) expect(masksKey(key), key).toBe(true)
    expect(Object.keys(names.ATTRIBUTES).filter(masksKey)).toEqual([])
  })

  it.each(CANARIES)('masks $what', ({ text, mark }) => {
    expect(shippedRedaction().maskValue(text)).not.toContain(mark)
  })

  it('masks what a program that redacts nothing sends of a refresh', () => {
    const { maskValue } = shippedRedaction()
    expect(maskValue('refresh_token=undefined&client_id=app')).toBe(`${MASK}client_id=app`)
    expect(maskValue('grant_type=refresh_token&refresh_token=Zk3vQ9rT1xW8bN5m')).toBe(`grant_type=refresh_token&${MASK}`)
  })

  // Seen: behind the shipped collector `gatewatch.request.fields` was `****` on every refresh, so that a literal `undefined`
  // could not be found. Why: a pattern for `refresh_token=`. Fix: what Gatewatch writes has a class there. Issue 1, point F1.
  it.each([
    ['form', 'grant_type=refresh_token&refresh_token=undefined&client_id=&scope=a%20b&client_secret=s3cretValue0123456789'],
    ['form', 'grant_type=authorization_code&code=abcdefghijk&code_verifier=Zk3vQ9rT1xW8bN5mC2hJ7p&state=0123456789abcdef&token=x'],
    ['json', '{"refresh_token":null,"access_token":true,"id_token":{"a":1},"code":12,"assertion":"eyJhbGciOi.eyJzdWIi.c2ln"}'],
    ['json', '{"refresh_token":"[object Object]","client_assertion":"eyJhbGciOi.eyJzdWIi.c2ln","password":"","device_code":"null"}'],
  ])('leaves the fields of a token request as Gatewatch writes them: %s %s', (encoding, body) => {
    const shape = summarizeRequest(body)
    expect(shape.encoding).toBe(encoding)
    expect(shippedRedaction().maskValue(shape.fields)).toBe(shape.fields)
  })

  it('leaves every word that Gatewatch can send, and what its own redaction puts in the place of a secret', () => {
    const { maskValue } = shippedRedaction()
    const words = Object.values(names.ATTRIBUTES).flatMap(({ values = [] }) => values)
    const metrics = Object.values(names.METRICS).flatMap(({ name, help }) => [name, help])
    const ours = [...Object.keys(names.ATTRIBUTES), ...words, ...metrics, ...CANARIES.map(({ text }) => redactText(text))]
    expect(ours.filter(text => maskValue(text) !== text)).toEqual([])
  })

  it('leaves frames, packages, models and what providers say of a refusal', () => {
    const { maskValue } = shippedRedaction()
    const texts = [
      'src/simulator/demo/agent-turn.ts#answerUser',
      'refreshOAuthCredentialsForProviderWithPlugin (node_modules/.pnpm/undici@8.12.4/node_modules/@scope/undici/lib/api.js:12:3)',
      'file:///srv/app/node_modules/@earendil-works/pi-ai/dist/oauth-B2kd93Xa.mjs:708:21',
      'app/@modal/page.tsx:3:9',
      '401 Missing bearer or basic authentication in header',
      'Basic authentication is not supported',
      'claude-sonnet-4-5-20250929',
      '0123456789abcdef0123456789abcdef',
      '7c1e4b9a-52d8-4f36-a0e9-3b8d6c2f1a57',
      'Could not validate your token. Please try signing in again.',
    ]
    expect(texts.filter(text => maskValue(text) !== text)).toEqual([])
  })
})

describe('the files of the pipeline', () => {
  const files = globSync('**/*.{yaml,yml}', { cwd: OTEL })

  it.each(files)('%s speaks of names that exist', file => {
    const spoken = [
      ...read(file)
        .replace(/#.*$/gm, '')
        .matchAll(/\bgatewatch\.[a-z_]+(?:\.[a-z_]+)*\b/g),
    ].map(([name]) => name)
    expect(spoken.filter(name => !KNOWN.has(name) && name !== 'gatewatch.rules.yml' && name !== 'gatewatch.key')).toEqual([])
  })

  it('mount and name only files that exist', () => {
    const mounted = [...read('compose.yaml').matchAll(/(?:- |\[|, )['"]?(\.{1,2}(?:\/[\w./-]+)?):\//g)].map(([, path = '']) => path)
    expect(mounted.length).toBeGreaterThan(6)
    expect(mounted.filter(path => !existsSync(join(OTEL, path)))).toEqual([])
    const rules = /rule_files:\n\s+- (.*)/.exec(read('prometheus.yml'))?.[1] ?? ''
    expect(existsSync(join(dirname(join(OTEL, 'prometheus.yml')), rules))).toBe(true)
  })

  it('scrape under the name the boards and alerts know', () => {
    expect(read('prometheus.yml')).toContain(`job_name: ${GATEWAY_JOB}\n`)
  })

  it('double each $ that Grafana must not take for a variable of its own', () => {
    for (const file of globSync('grafana/**/*.yaml', { cwd: OTEL }))
      expect(read(file).replace(/^#.*$/gm, '').replaceAll('$$', '')).not.toContain('$')
  })
})

describe.runIf(isInstalled('promtool'))('promtool', () => {
  it('finds no fault in the configuration of Prometheus', () => {
    expect(execFileSync('promtool', ['check', 'config', join(OTEL, 'prometheus.yml')], { encoding: 'utf8' })).toContain('SUCCESS')
  })
})

describe.runIf(isInstalled('amtool'))('amtool', () => {
  it('finds no fault in the configuration of Alertmanager', () => {
    expect(execFileSync('amtool', ['check-config', join(OTEL, 'alertmanager.yml')], { encoding: 'utf8' })).toContain('SUCCESS')
  })
})

describe.runIf(isInstalled('prometheus') && isInstalled(alertmanagerProgram() ?? 'alertmanager'))(
  'npm run stack',
  { timeout: 60_000 },
  () => {
    it('starts everything with our configuration, says where, and leaves nothing behind', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'gatewatch-pipeline-'))
      onTestFinished(() => rm(folder, { recursive: true, force: true }))
      const child = spawn(process.execPath, [join(OTEL, 'stack.ts')], {
        env: { ...process.env, TMPDIR: folder },
        stdio: ['ignore', 'pipe', 'ignore'],
      })
      onTestFinished(() => void child.kill('SIGTERM'))
      const ended = once(child, 'exit')
      let said = ''
      for await (const chunk of child.stdout) {
        said += chunk
        if (said.includes('Ctrl-C')) break
      }
      const [, prometheus = ''] = /^prometheus +(http:\S+)/m.exec(said) ?? []
      const { data } = (await (await fetch(`${prometheus}/api/v1/rules`)).json()) as { data: { groups: unknown[] } }
      expect(data.groups.length).toBeGreaterThan(3)
      const [, alertmanager = ''] = /^alertmanager +(http:\S+)/m.exec(said) ?? []
      const { config } = (await (await fetch(`${alertmanager}/api/v2/status`)).json()) as { config: { original: string } }
      expect(config.original).toContain('on-call')
      child.kill('SIGTERM')
      expect((await ended)[0]).toBe(0)
      for (const url of [prometheus, alertmanager]) await expect(fetch(url)).rejects.toThrow()
      expect(await readdir(folder)).toEqual([])
    })
  },
)

/** The sampling policies of a collector's configuration, each as in its file. */
function policiesOf(text: string): Record<string, string> {
  const [, section = ''] = /^ {4}policies:\n((?: {6}.*\n)+)/m.exec(text) ?? []
  return Object.fromEntries(
    section.split(/^ {6}(?=- name: )|^ {6}#.*\n/m).flatMap(policy => {
      const [, name] = /^- name: (.*)\n/.exec(policy) ?? []
      return name === undefined ? [] : [[name, policy]]
    }),
  )
}

/** The pipelines of a collector's configuration: what comes in, what is done, where it goes. */
function pipelinesOf(text: string): Record<string, Record<string, string[]>> {
  const section = text.slice(text.indexOf('  pipelines:\n'))
  return Object.fromEntries(
    [...section.matchAll(/^ {4}([\w/]+):\n((?: {6}.*\n)+)/gm)].map(([, name = '', body = '']) => [
      name,
      Object.fromEntries([...body.matchAll(/(\w+): \[(.*)\]/g)].map(([, key = '', list = '']) => [key, list.split(', ')])),
    ]),
  )
}
