import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { delimiter, join } from 'node:path'
import express from 'express'
import { configError, type GatewayError } from '../domain/gateway-error.ts'
import { eventFile, requireOwnEventFile } from '../events/event-file.ts'
import { folderSource } from '../ops/folder-source.ts'
import { OpsPage } from '../ops/ops-page.ts'
import { opsRouter } from '../ops/ops-router.ts'
import { InboundKeys, requireOperator } from '../server/inbound-keys.ts'
import { stateFolderAt } from '../store/own-files.ts'
import { packageVersion } from '../tools/own-package.ts'
import { EXIT, type ExitCode, type Output } from './output.ts'
import { waitForSignal } from './signals.ts'

interface OpsCommandOptions {
  /** State folder of the watched processes. */
  state: string
  /** @default 8090 */
  port: number
  /** Opens the page in the browser of this machine. */
  open: 'yes' | 'no'
}

const HOST = '127.0.0.1'

/** `gatewatch ops --state DIR`: the ops page over what watched processes recorded, on loopback, until it is asked to end. */
export async function opsCommand({ state: named, port, open }: OpsCommandOptions, output: Output): Promise<ExitCode> {
  const state = stateFolderAt(named)
  requireOwnEventFile(eventFile(state))
  const page = new OpsPage(folderSource({ folder: state, version: packageVersion() }))
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.get('/', (_request, response) => response.redirect('/ops'))
  app.use(opsRouter(page, requireOperator(new InboundKeys([]))))
  app.use((_request, response) => {
    response.status(404).type('text/plain').send('there is nothing here; the page is at /ops')
  })
  const server = createServer(app)
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause: NodeJS.ErrnoException) => reject(cannotListen(port, cause)))
      server.listen(port, HOST, resolve)
    })
    // What goes wrong later (no more file descriptors) must not end the page.
    server.on('error', (fault: NodeJS.ErrnoException) => output.note(`the server of the page: ${fault.code ?? fault.name}`))
    const url = `http://${HOST}:${(server.address() as AddressInfo).port}/ops`
    const asked = waitForSignal()
    output.show({ event: 'listening', url, state }, `ops page  ${url}\nshows     ${state}\nCtrl-C ends it.`)
    if (open === 'yes' && !openInBrowser(url)) output.note(`no browser could be started: open ${url}`)
    await asked
  } finally {
    page.stop()
    server.closeAllConnections()
    server.close()
  }
  return EXIT.good
}

function cannotListen(port: number, cause: NodeJS.ErrnoException): GatewayError {
  const message = `port ${port} cannot be bound (${cause.code ?? cause.name}): choose another with --port, or 0 for a free one`
  return configError(message, cause)
}

const OPENERS: Readonly<Partial<Record<NodeJS.Platform, string>>> = { darwin: 'open', linux: 'xdg-open' }

/** Opens an address in the browser of this machine, and waits for nothing. @returns Whether there was a way to. */
function openInBrowser(url: string): boolean {
  const opener = OPENERS[process.platform]
  const folder = opener && (process.env.PATH ?? '').split(delimiter).find(candidate => isProgram(join(candidate, opener)))
  if (!opener || folder === undefined) return false
  spawn(join(folder, opener), [url], { stdio: 'ignore', detached: true })
    .once('error', () => undefined)
    .unref()
  return true
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
