import diagnostics from 'node:diagnostics_channel'
import { basename } from 'node:path'
import { eventCaller, siteOf } from '../callers/caller.ts'
import { type RawFrame, takeFrames } from '../callers/stack-frames.ts'
import type { SideChannel } from '../domain/enums.ts'
import { hostSpan } from '../telemetry/host-span.ts'
import { isInstrumentationSuppressed } from '../tools/suppress-instrumentation.ts'
import { type Observation, placeUnder } from './observation.ts'

interface SideChannelOptions {
  tokenHosts: ReadonlySet<string>
  /** An HTTP client of this process has business with the host: its sockets are no side channels. */
  hasClient: (host: string) => boolean
  report: (observation: Observation) => void
  onFault: (fault: unknown) => void
}

/**
 * Node's own clients; a socket opened by one of them is seen as a request. And those that open a socket before their
 * request, to learn which protocol the host speaks.
 */
const HTTP_CLIENT =
  /^node:(?:_http_|https?$|internal\/deps\/undici|internal\/http2)|\/undici[^/]*\/|\/node_modules\/(?:got|http2-wrapper|resolve-alpn)\//
/** Programs that are watched themselves, since they inherit the preload. */
const NODE = /^node(?:js)?(?:\.exe)?$/

/**
 * Sees token requests that leave by other ways than the HTTP clients of this process, as far as they show: a child that
 * is no Node and has a token host on its command line, a raw socket to a token host. They are recorded as such; what
 * is sent is not seen, and `execSync` and `spawnSync` are not either.
 *
 * @returns Stops watching.
 */
export function watchSideChannels({ tokenHosts, hasClient, report, onFault }: SideChannelOptions): () => void {
  const safely =
    <M>(handle: (message: M) => void) =>
    (message: M) => {
      try {
        handle(message)
      } catch (fault) {
        onFault(fault)
      }
    }
  /** Looks again when the call that opened the door is through: only then does Node know where it leads. */
  const soon = (look: () => void) => process.nextTick(safely(look))

  const onChild = safely((message: unknown) => {
    if (isInstrumentationSuppressed()) return
    const { process: child } = message as { process: { spawnfile?: string; spawnargs?: readonly string[] } }
    const frames = takeFrames(onChild)
    soon(() => {
      const { spawnfile = '', spawnargs = [] } = child
      if (NODE.test(basename(spawnfile))) return
      const host = [...tokenHosts].find(known => spawnargs.some(parameter => parameter.includes(known)))
      if (host !== undefined) report(sideChannel('child', host, frames))
    })
  })
  const onSocket = safely((message: unknown) => {
    if (isInstrumentationSuppressed()) return
    const { socket } = message as { socket: { _host?: string | null } }
    const frames = takeFrames(onSocket)
    if (frames.some(({ file }) => HTTP_CLIENT.test(file.replaceAll('\\', '/')))) return
    soon(() => {
      const { _host: host } = socket
      if (typeof host === 'string' && tokenHosts.has(host) && !hasClient(host)) report(sideChannel('socket', host, frames))
    })
  })
  const doors = { child_process: onChild, 'net.client.socket': onSocket }
  for (const [name, handle] of Object.entries(doors)) diagnostics.subscribe(name, handle)
  return () => {
    for (const [name, handle] of Object.entries(doors)) diagnostics.unsubscribe(name, handle)
  }
}

function sideChannel(channel: SideChannel, serverAddress: string, frames: readonly RawFrame[]): Observation {
  const parent = hostSpan()
  const caller = eventCaller(siteOf(frames))
  return {
    parent,
    event: {
      ...placeUnder(parent),
      kind: 'side_channel',
      startMs: Date.now(),
      durationMs: 0,
      caller,
      channel,
      serverAddress,
      isError: false,
      steps: [],
    },
  }
}
