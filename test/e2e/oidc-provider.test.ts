import { readFileSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startStandaloneSdk } from '../../otel/sdk/sdk.ts'
import {
  ATTR_CALLER,
  ATTR_LOGIN_METHOD,
  ATTR_OPERATION_OUTCOME,
  ATTR_OUTCOME,
  ATTR_REPLAY,
  ATTR_REQUEST_FIELDS,
  ATTR_VIA,
  METRICS,
  SPAN_DEVICE,
  SPAN_EXCHANGE,
  SPAN_LOGIN,
  SPAN_REFRESH,
  SPAN_REVOKE,
} from '../../otel/semconv.ts'
import type { OAuthCredential } from '../../src/domain/credential.ts'
import { startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { fileStore } from '../../src/store/file-store.ts'
import { type Ended, type Running, runCli } from '../cli/run-cli.ts'
import { collected } from '../support/collected.ts'
import { observed } from '../support/gateway-world.ts'
import { Browser, type OidcServer, type Page, startOidcServer } from '../support/oidc-server.ts'
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.ts'
import { searchForSecrets } from './secrets.ts'

/**
 * An OAuth server that is not ours, and no line of ours that knows it: signing in by browser and by device, a refresh
 * through the gate, a replay past it, and giving a login back. What every step let out is kept and searched at the end.
 */
const CLIENT = { id: 'gateway-of-acme', secret: 'Wk7RnTqZ4xLv2HbMc9YpJd3GsFe8UaXo' }
const BY_BROWSER = 'acme:browser'
const BY_DEVICE = 'acme:device'

describe('at an OAuth server of another caller', () => {
  const search = searchForSecrets()
  const outputs: string[] = []
  const commandLines: string[] = []
  let folder = ''
  let server: OidcServer
  let otlp: OtlpReceiver
  let browserLogin: Ended
  let deviceLogin: Ended
  let strangersLogin: Ended
  let ownPages: Page[]
  let afterLogin: OAuthCredential

  const stateFolder = () => join(folder, 'gatewatch-state')
  const environment = () => ({ ACME_SECRET: CLIENT.secret, OTEL_EXPORTER_OTLP_ENDPOINT: otlp.url })
  const settings = () => ({
    providers: {
      acme: {
        baseUrl: `${server.url}/v1`,
        tokenUrl: `${server.url}/token`,
        clientId: CLIENT.id,
        clientSecretEnv: 'ACME_SECRET',
        authorizationUrl: `${server.url}/auth`,
        deviceUrl: `${server.url}/device/auth`,
        revocationUrl: `${server.url}/token/revocation`,
        issuer: server.url,
        scopes: ['openid', 'offline_access'],
        authorizationParameters: { prompt: 'consent' },
      },
    },
  })

  const start = (...parameters: string[]): Running => {
    const command = runCli(['profiles', ...parameters, '--config', join(folder, 'gatewatch.json')], { environment: environment() })
    const commandLine = `/proc/${command.child.pid}/cmdline`
    void command.until(/Sign in at/).then(
      () => commandLines.push(readFileSync(commandLine, 'utf8')),
      () => undefined,
    )
    return command
  }
  const end = async (command: Running): Promise<Ended> => {
    const ended = await command.ended
    // The address that the browser opens holds the state, which the person's browser has to know.
    outputs.push(ended.stdout.replace(/http:\S+/g, ''), ended.stderr)
    return ended
  }
  const signIn = async (person: Browser, ...parameters: string[]): Promise<Ended> => {
    const command = start('login', '--provider', 'acme', ...parameters)
    const [url] = await command.until(/http:\S+/)
    await person.goThrough(url)
    return end(command)
  }
  const stored = async (profileId: string): Promise<OAuthCredential | undefined> => {
    const store = fileStore(stateFolder())
    const profile = await store.read(profileId)
    await store.close()
    return profile?.credential as OAuthCredential | undefined
  }
  const learn = (credential: OAuthCredential | undefined) => {
    for (const text of [credential?.access, credential?.refresh, credential?.idToken]) if (text) search.add({ what: 'a token', text })
  }
  const post = (path: string, fields: Record<string, string>) =>
    fetch(server.url + path, {
      method: 'POST',
      body: new URLSearchParams({ client_id: CLIENT.id, client_secret: CLIENT.secret, ...fields }),
    })

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gatewatch-oidc-'))
    server = await startOidcServer(CLIENT)
    otlp = await startOtlpReceiver()
    await writeFile(join(folder, 'gatewatch.json'), JSON.stringify(settings()))
    const person = new Browser('a-user')
    ;[browserLogin, deviceLogin] = await Promise.all([
      signIn(person, '--profile', BY_BROWSER),
      signIn(new Browser('a-user'), '--profile', BY_DEVICE, '--device'),
    ])
    ownPages = person.pages.filter(({ url }) => !url.startsWith(server.url))
    for (const { url } of person.pages) {
      const code = new URL(url).searchParams.get('code')
      if (code) search.add({ what: 'the code', text: code })
    }
    afterLogin = (await stored(BY_BROWSER)) as OAuthCredential
    strangersLogin = await signIn(new Browser('another caller'), '--profile', BY_BROWSER)
  }, 60_000)

  afterAll(async () => {
    await Promise.all([server.stop(), otlp.stop()])
    await rm(folder, { recursive: true, force: true })
  })

  it('a user signs in with a browser, PKCE and a nonce', async () => {
    expect(browserLogin).toMatchObject({ code: 0, stdout: expect.stringContaining(`Signed in: ${BY_BROWSER} is stored`) })
    expect(afterLogin).toMatchObject({ type: 'oauth', account: 'a-user', generation: 0, refresh: expect.any(String) })
    const exchange = server.tokenRequests.find(fields => fields.get('grant_type') === 'authorization_code')
    expect(exchange?.get('code_verifier')).toMatch(/^[\w-]{43}$/)
    expect(exchange?.get('redirect_uri')).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/callback$/)
  })

  it('a user signs in with a code on another device', async () => {
    expect(deviceLogin).toMatchObject({ code: 0, stdout: expect.stringContaining(`Signed in: ${BY_DEVICE} is stored`) })
    expect(await stored(BY_DEVICE)).toMatchObject({ account: 'a-user', refresh: expect.any(String) })
  })

  it('another account is refused, and what it signed in for is given back', async () => {
    expect(strangersLogin).toMatchObject({ code: 1, stderr: expect.stringContaining('belongs to another account') })
    expect(strangersLogin.stderr).toContain('the new login was given back')
    expect(await stored(BY_BROWSER)).toEqual(afterLogin)
  })

  it('a refresh through the gate rotates, a replay past it is seen and ends the grant, and the gate says so', async () => {
    const watch = await startGatewatch({
      ...settings(),
      store: fileStore(stateFolder()),
      environment: environment(),
      startTelemetry: startStandaloneSdk,
    })
    const { spans, series } = observed(watch)
    try {
      const { profile, outcome } = await watch.acquireToken({ profile: BY_BROWSER, reason: 'operator' })
      expect(outcome).toBe('rotated')
      learn(profile.credential as OAuthCredential)
      const replayed = await post('/token', { grant_type: 'refresh_token', refresh_token: afterLogin.refresh ?? '' })
      expect([replayed.status, ((await replayed.json()) as { error: string }).error]).toEqual([400, 'invalid_grant'])
      await expect(watch.acquireToken({ profile: BY_BROWSER, reason: 'operator' })).rejects.toMatchObject({ code: 'GW_NEEDS_LOGIN' })
      const seen = spans(SPAN_REFRESH).map(({ attributes }) => [attributes[ATTR_VIA], attributes[ATTR_OUTCOME], attributes[ATTR_REPLAY]])
      expect(seen).toEqual([
        ['gate', 'rotated', undefined],
        ['bypass', 'invalidated', true],
        ['gate', 'invalidated', undefined],
      ])
      expect(await series('replays')).toMatchObject([{ value: 1, labels: { profile: BY_BROWSER } }])
      outputs.push(JSON.stringify(await collected(watch.events.source.events())), (await watch.metrics()).body)
    } finally {
      await watch.close()
    }
  })

  it('whose login died signs in again', async () => {
    expect(await signIn(new Browser('a-user'), '--profile', BY_BROWSER)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('holds the new login'),
    })
    learn(await stored(BY_BROWSER))
  }, 30_000)

  it('a logout gives the login back and forgets it', async () => {
    const before = await stored(BY_DEVICE)
    learn(before)
    const { code, stdout } = await end(start('logout', BY_DEVICE))
    expect([code, stdout]).toEqual([0, `${BY_DEVICE}: the provider took the login back, and it is forgotten here\n`])
    expect(await stored(BY_DEVICE)).toBeUndefined()
    const after = await post('/token', { grant_type: 'refresh_token', refresh_token: before?.refresh ?? '' })
    expect(after.status).toBe(400)
  }, 30_000)

  it('each of them is a span with caller, outcome and shape, and counted', async () => {
    const report = (name: string) =>
      otlp
        .spans()
        .filter(span => span.name === name)
        .map(({ attributes }) => attributes)
    expect(
      report(SPAN_LOGIN)
        .map(attributes => [attributes[ATTR_LOGIN_METHOD], attributes[ATTR_OPERATION_OUTCOME]])
        .sort(),
    ).toEqual([
      ['browser', 'identity_mismatch'],
      ['browser', 'ok'],
      ['browser', 'ok'],
      ['device', 'ok'],
    ])
    expect(report(SPAN_EXCHANGE)).toHaveLength(3)
    const logins = otlp.spans().filter(({ name }) => name === SPAN_LOGIN)
    for (const { name, parentSpanId } of otlp.spans())
      if (name === SPAN_EXCHANGE || name === SPAN_DEVICE) expect(logins.map(({ spanId }) => spanId)).toContain(parentSpanId)
    expect(report(SPAN_EXCHANGE)[0]).toMatchObject({
      [ATTR_CALLER]: 'gatewatch profiles login',
      [ATTR_REQUEST_FIELDS]: expect.stringMatching(
        /^client_id=opaque:\d+ client_secret=opaque:\d+ code=opaque:\d+ code_verifier=opaque:43 grant_type=authorization_code /,
      ),
    })
    expect(report(SPAN_DEVICE)).toMatchObject([{ [ATTR_OPERATION_OUTCOME]: 'ok' }])
    expect(
      report(SPAN_REVOKE)
        .map(attributes => attributes[ATTR_CALLER])
        .sort(),
    ).toEqual(['gatewatch profiles login', 'gatewatch profiles logout'])
    const counted = otlp.allMetrics().filter(({ name }) => name === METRICS.operationDuration.name)
    const operations = counted.flatMap(({ points }) => points.map(({ attributes }) => attributes.operation))
    expect(new Set(operations)).toEqual(new Set(['login', 'exchange', 'device', 'revoke']))
  })

  it('the page that the browser ends at shows nothing, keeps nothing and sends nothing on', () => {
    expect(ownPages.map(({ status }) => status)).toEqual([303, 200])
    expect(ownPages.at(-1)?.text).toContain('You can close this window')
    expect(ownPages.at(-1)?.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/signed-in$/)
    for (const { headers } of ownPages)
      expect([headers.get('cache-control'), headers.get('referrer-policy')]).toEqual(['no-store', 'no-referrer'])
  })

  it('no secret of all this came out anywhere', async () => {
    learn(afterLogin)
    search.add({ what: 'the client secret', text: CLIENT.secret })
    for (const fields of server.tokenRequests)
      for (const name of ['code', 'code_verifier', 'device_code', 'refresh_token']) {
        const text = fields.get(name)
        if (text) search.add({ what: `the ${name}`, text })
      }
    const files = (await readdir(stateFolder())).filter(name => name.startsWith('events'))
    const recorded = await Promise.all(files.map(name => readFile(join(stateFolder(), name), 'latin1')))
    const pages = ownPages.map(({ text, headers }) => text + JSON.stringify([...headers]))
    expect(files).toContain('events.sqlite')
    expect(commandLines).toHaveLength(4)
    const profiles = await Promise.all(
      ['', '-wal'].map(ending => readFile(join(stateFolder(), `profiles.sqlite${ending}`), 'latin1').catch(() => '')),
    )
    expect(search.find(profiles.join('')), 'the search finds what is there').not.toEqual([])
    const surfaces = { outputs, recorded, pages, commandLines, otlp: [otlp.text()] }
    for (const [where, texts] of Object.entries(surfaces)) {
      expect(texts.join('').length, `${where} is empty`).toBeGreaterThan(100)
      expect(texts.flatMap(text => search.find(text))).toEqual([])
    }
  })
})
