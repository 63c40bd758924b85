import type { RequestListener } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Answer } from '../messages.ts'

/** Listens on a free port of loopback and reports the address to the benchmark. */
export function listen(handle: RequestListener): void {
  const server = createServer(handle)
  server.keepAliveTimeout = 65_000
  server.listen(0, '127.0.0.1', () => reportReady(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
}

export function reportReady(url: string): void {
  const answer: Answer = { type: 'ready', url }
  process.send?.(answer)
}
