import { connect, createServer, type Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { peerProcess } from '../../src/server/token-gate-peer.ts'
import { afterwards } from '../support/clean-up.ts'

/** A connection of this process to itself, as its server sees it. */
async function connected(listenAt: string, connectTo: string): Promise<Socket> {
  const accepted = Promise.withResolvers<Socket>()
  const server = createServer(accepted.resolve)
  await new Promise<void>(resolve => server.listen(0, listenAt, resolve))
  const address = server.address()
  const client = connect(typeof address === 'object' && address ? address.port : 0, connectTo)
  afterwards(() => {
    client.destroy()
    server.close()
  })
  client.on('error', () => undefined)
  return accepted.promise
}

/** Gives this process a name until the test is over. */
function callMyself(name: string): void {
  const { title } = process
  afterwards(() => {
    process.title = title
  })
  process.title = name
}

describe.skipIf(process.platform !== 'linux')('the process at the other end', () => {
  it.each([
    ['IPv4', '127.0.0.1', '127.0.0.1'],
    ['IPv4 to a server that listens on IPv6', '::', '127.0.0.1'],
    ['IPv6', '::1', '::1'],
  ])('is found over %s', async (_way, listenAt, connectTo) => {
    callMyself('my-own-name')
    expect(await peerProcess(await connected(listenAt, connectTo))).toBe('my-own-name')
  })

  it('is called by its program where Node calls it as it calls every process', async () => {
    callMyself('MainThread')
    expect(await peerProcess(await connected('127.0.0.1', '127.0.0.1'))).toBe('node')
  })

  it('is not shown where it calls itself by what could be a secret or is no name', async () => {
    const socket = await connected('127.0.0.1', '127.0.0.1')
    callMyself('x{y}="z"')
    expect(await peerProcess(socket)).toBeUndefined()
  })

  it('is unknown for a connection from elsewhere, and for one that is not there', async () => {
    const { remotePort, localPort } = await connected('127.0.0.1', '127.0.0.1')
    expect(await peerProcess({ remoteAddress: '192.0.2.1', remotePort, localPort })).toBeUndefined()
    expect(await peerProcess({ remoteAddress: '127.0.0.1', remotePort: 1, localPort })).toBeUndefined()
    expect(await peerProcess({})).toBeUndefined()
  })
})
