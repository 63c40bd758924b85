import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { EXIT } from '../../src/cli/output.ts'
import { ROOT } from '../house/source-files.ts'
import { runCli } from './run-cli.ts'

const TOKEN = 'a-service-account-token'
const GENERATED = join(ROOT, 'dashboards/generated')
const UIDS = ['gatewatch-inside', 'gatewatch-overview', 'gatewatch-profile-fallback', 'gatewatch-provider-calls', 'gatewatch-who-refreshes']
let folder = ''
const endings: (() => Promise<void>)[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gatewatch-boards-'))
})

afterEach(async () => {
  for (const end of endings.splice(0)) await end()
  await rm(folder, { recursive: true, force: true })
})

describe('gatewatch dashboards export', () => {
  it('writes boards, rules and runbook, byte for byte as they are committed', async () => {
    const { code } = await runCli(['dashboards', 'export', join(folder, 'made/on/the/way')]).ended
    expect(code).toBe(EXIT.good)
    const written = await readdir(join(folder, 'made/on/the/way'))
    expect(written.sort()).toEqual([...UIDS.map(uid => `${uid}.json`), 'gatewatch.rules.yml', 'runbook.md'])
    for (const name of written) {
      const committed = name === 'runbook.md' ? join(ROOT, 'dashboards', name) : join(GENERATED, name)
      expect(await readFile(join(folder, 'made/on/the/way', name), 'utf8'), name).toBe(await readFile(committed, 'utf8'))
    }
  })

  it('lets the links of alerts lead where the operator says', async () => {
    const links = ['--grafana', 'https://grafana.example/sub/', '--runbook', 'https://wiki.example/gatewatch']
    const { code, stdout } = await runCli(['dashboards', 'export', folder, '--json', ...links]).ended
    expect(code).toBe(EXIT.good)
    expect(JSON.parse(stdout)).toMatchObject({ folder })
    const rules = await readFile(join(folder, 'gatewatch.rules.yml'), 'utf8')
    const urls = [...rules.matchAll(/(?:dashboard|runbook)_url: "([^"]*)"/g)].map(([, url = '']) => url)
    expect(urls.length).toBeGreaterThan(30)
    expect(
      urls.filter(url => !/^https:\/\/grafana\.example\/sub\/d\/gatewatch-|^https:\/\/wiki\.example\/gatewatch#gatewatch/.test(url)),
    ).toEqual([])
  })

  it('says why a folder cannot be written', async () => {
    const { code, stderr } = await runCli(['dashboards', 'export', join(ROOT, 'package.json', 'below')]).ended
    expect(stderr).toMatch(/cannot be written \(ENOTDIR|EEXIST\)/)
    expect(code).toBe(EXIT.usage)
  })
})

describe('gatewatch dashboards install', () => {
  it('makes the folder, puts every board in it, and changes nothing the second time', async () => {
    const grafana = await startGrafana()
    const first = await install(grafana)
    expect(first.code).toBe(EXIT.good)
    expect(first.stdout.match(/^created /gm)).toHaveLength(UIDS.length)
    expect([...grafana.folders]).toEqual(['gatewatch'])
    expect([...grafana.boards.keys()].sort()).toEqual(UIDS)
    for (const [uid, { dashboard, folderUid }] of grafana.boards) {
      expect(folderUid).toBe('gatewatch')
      const { id: _id, version: _version, ...kept } = dashboard
      expect(kept).toEqual(JSON.parse(await readFile(join(GENERATED, `${uid}.json`), 'utf8')))
    }
    grafana.writes.length = 0
    const second = await install(grafana)
    expect(second.stdout.match(/^unchanged /gm)).toHaveLength(UIDS.length)
    expect(grafana.writes).toEqual([])
  })

  it('updates what a user changed, and leaves boards of others alone', async () => {
    const grafana = await startGrafana()
    await install(grafana)
    const overview = grafana.boards.get('gatewatch-overview')
    if (overview) overview.dashboard.title = 'changed by hand'
    grafana.boards.set('of-another-owner', { dashboard: { uid: 'of-another-owner', title: 'Theirs', tags: [] }, folderUid: '' })
    grafana.writes.length = 0
    const { stdout } = await install(grafana)
    expect(stdout.match(/^updated .*gatewatch-overview/gm)).toHaveLength(1)
    expect(grafana.writes).toEqual(['POST /api/dashboards/db gatewatch-overview'])
    expect(grafana.boards.get('of-another-owner')?.dashboard.title).toBe('Theirs')
  })

  it('refuses before it changes anything when one of our uids belongs to a board of another caller', async () => {
    const grafana = await startGrafana()
    grafana.boards.set('gatewatch-who-refreshes', {
      dashboard: { uid: 'gatewatch-who-refreshes', title: 'Theirs', tags: ['x'] },
      folderUid: '',
    })
    const { code, stderr } = await install(grafana)
    expect(stderr).toContain('gatewatch-who-refreshes belongs to "Theirs"')
    expect(code).toBe(EXIT.usage)
    expect(grafana.writes).toEqual([])
  })

  it('says what it would do with --dry-run, and does nothing', async () => {
    const grafana = await startGrafana()
    const { code, stdout } = await install(grafana, '--dry-run', '--json')
    expect(JSON.parse(stdout)).toMatchObject({ dryRun: true, boards: UIDS.map(uid => ({ uid, change: 'created' })) })
    expect(code).toBe(EXIT.good)
    expect(grafana.writes).toEqual([])
  })

  it('asks for a token, says when it is not good enough, and never shows it', async () => {
    const grafana = await startGrafana()
    const without = await runCli(['dashboards', 'install', '--grafana', grafana.url], { environment: { GRAFANA_TOKEN: '' } }).ended
    expect(without.code).toBe(EXIT.usage)
    expect(without.stderr).toContain('GRAFANA_TOKEN')
    const wrong = await runCli(['dashboards', 'install', '--grafana', grafana.url], { environment: { GRAFANA_TOKEN: 'not-that-one' } })
      .ended
    expect(wrong.code).toBe(EXIT.dead)
    expect(wrong.stderr).toContain('401')
    expect(wrong.stderr + wrong.stdout).not.toContain('not-that-one')
  })

  it('says that no server answers', async () => {
    const grafana = await startGrafana()
    await endings.splice(0)[0]?.()
    const { code, stderr } = await install(grafana)
    expect(stderr).toContain(`no Grafana answers at ${grafana.url}`)
    expect(code).toBe(EXIT.dead)
  })
})

interface Stored {
  dashboard: Record<string, unknown> & { uid: string; title: string; tags: string[] }
  folderUid: string
}

function install(grafana: { url: string }, ...more: string[]) {
  return runCli(['dashboards', 'install', '--grafana', grafana.url, ...more], { environment: { GRAFANA_TOKEN: TOKEN } }).ended
}

/** The part of Grafana's HTTP API that stores folders and boards, on a real port. */
async function startGrafana() {
  const folders = new Set<string>()
  const boards = new Map<string, Stored>()
  const writes: string[] = []
  const addFolder = ({ uid }: { uid: string }): [number, unknown] => {
    folders.add(uid)
    return [200, { uid }]
  }
  const addBoard = ({ dashboard, folderUid, overwrite }: Stored & { overwrite?: boolean }): [number, unknown] => {
    if (!folders.has(folderUid)) return [400, { message: 'folder not found' }]
    if (boards.has(dashboard.uid) && !overwrite) return [412, { status: 'name-exists' }]
    boards.set(dashboard.uid, { dashboard: { ...dashboard, id: boards.size + 1, version: 1 }, folderUid })
    return [200, { uid: dashboard.uid, status: 'success' }]
  }
  const answer = async (request: IncomingMessage): Promise<[number, unknown]> => {
    const { method, url = '' } = request
    if (request.headers.authorization !== `Bearer ${TOKEN}`) return [401, { message: 'Invalid API key' }]
    if (method === 'POST') {
      const body = (await json(request)) as { uid: string } & Stored
      writes.push(`POST ${url} ${body.uid ?? body.dashboard.uid}`)
      return url === '/api/folders' ? addFolder(body) : addBoard(body)
    }
    return find(url)
  }
  const find = (url: string): [number, unknown] => {
    const folderUid = /^\/api\/folders\/(.+)$/.exec(url)?.[1]
    if (folderUid) return folders.has(folderUid) ? [200, { uid: folderUid }] : [404, { message: 'folder not found' }]
    const stored = boards.get(/^\/api\/dashboards\/uid\/(.+)$/.exec(url)?.[1] ?? '')
    return stored
      ? [200, { dashboard: stored.dashboard, meta: { folderUid: stored.folderUid } }]
      : [404, { message: 'Dashboard not found' }]
  }
  const server = createServer(async (request, response) => {
    const [status, body] = await answer(request)
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  endings.push(
    () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  )
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, folders, boards, writes }
}
