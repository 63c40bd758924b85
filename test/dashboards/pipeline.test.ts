import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { GATEWAY_JOB } from '../../dashboards/jobs.ts'
import * as names from '../../otel/names.ts'
import { ROOT } from '../house/source-files.ts'
import { alertmanagerProgram, isInstalled } from './prometheus-server.ts'

const OTEL = join(ROOT, 'otel')
const read = (file: string) => readFileSync(join(OTEL, file), 'utf8')
const KNOWN = new Set([...Object.values(names).filter(value => typeof value === 'string'), ...Object.keys(names.ATTRIBUTES)])

describe('the collector', () => {
  it('limits memory first, redacts next, makes metrics before it samples, and batches last', () => {
    const pipelines = pipelinesOf(read('collector.yaml'))
    expect(pipelines['traces/in']).toEqual({
      receivers: ['otlp'],
      processors: ['memory_limiter', 'redaction'],
      exporters: ['spanmetrics', 'forward/unsampled'],
    })
    expect(pipelines['traces/kept']).toEqual({
      receivers: ['forward/unsampled'],
      processors: ['tail_sampling', 'batch'],
      exporters: ['otlp_grpc/tempo'],
    })
    expect(pipelines.metrics?.receivers).toEqual(['otlp', 'spanmetrics'])
  })

  it('keeps every error, bypass, refresh and fallback, by names that exist', () => {
    const text = read('collector.yaml')
    for (const kept of [
      'status_codes: [ERROR]',
      'values: [bypass]',
      `name == "${names.SPAN_REFRESH}"`,
      `name == "${names.EVENT_FALLBACK}"`,
    ])
      expect(text).toContain(kept)
    expect(text).toContain(`key: ${names.ATTR_VIA}`)
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

  it('masks secrets, and none of the attributes one looks for', () => {
    const text = read('collector.yaml')
    const patterns = (key: string) =>
      [...(new RegExp(`${key}:\\n((?: {6}- .*\\n)+)`).exec(text)?.[1] ?? '').matchAll(/- ['"](.*)['"]/g)].map(
        ([, pattern = '']) => new RegExp(pattern.replace('(?i)', ''), 'i'),
      )
    const [values, keys] = [patterns('blocked_values'), patterns('blocked_key_patterns')]
    for (const secret of [
      'Bearer abc',
      'sk-ant-0123456789abcdef0123',
      'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln',
      'refresh_token=undefined&x',
    ])
      expect(
        values.some(pattern => pattern.test(secret)),
        secret,
      ).toBe(true)
    for (const key of ['http.request.header.authorization', 'Set-Cookie'])
      expect(
        keys.some(pattern => pattern.test(key)),
        key,
      ).toBe(true)
    expect(Object.keys(names.ATTRIBUTES).filter(name => keys.some(pattern => pattern.test(name)))).toEqual([])
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
