import diagnostics from 'node:diagnostics_channel'
import { describe, expect, it } from 'vitest'
import { watchOutgoing } from '../../src/http-clients/outgoing.ts'
import { onClose } from '../watch/world.ts'

/** A request as undici publishes it, of a class of its own for each test. */
function published(shape: 'known' | 'locked body' | 'other callbacks') {
  const methods =
    shape === 'other callbacks' ? ['begin', 'headers', 'data', 'done'] : ['onConnect', 'onHeaders', 'onData', 'onComplete', 'onError']
  const type = class Request {}
  for (const name of methods) Object.defineProperty(type.prototype, name, { value: () => name, writable: true, configurable: true })
  const body = (async function* () {
    yield Buffer.from('grant_type=refresh_token&refresh_token=rt-0')
  })()
  const request = Object.assign(new type(), {
    method: 'POST',
    origin: 'https://auth.example',
    path: '/token',
    headers: ['content-type', 'application/x-www-form-urlencoded'],
    contentLength: 43,
    aborted: false,
    completed: false,
    body: body as unknown,
  })
  if (shape === 'locked body') Object.defineProperty(request, 'body', { value: body, writable: false })
  return request
}

function watch() {
  const notices: string[] = []
  const faults: unknown[] = []
  const bodies: (string | undefined)[] = []
  const blocked: boolean[] = []
  const stop = watchOutgoing({
    wanted: () => true,
    listener: request => {
      blocked.push(request.block(new Error('refused')))
      request.onBody(body => bodies.push(body))
      request.onEnd(() => undefined)
    },
    onFault: fault => faults.push(fault),
    onNotice: line => notices.push(line),
  })
  onClose(stop)
  return { notices, faults, bodies, blocked }
}

// What was seen: the fields of undici's internal request were overwritten whatever they were. A later version that makes
// one of them an accessor would have ended the watch; one that starts requests otherwise would have been recorded as
// refused, and sent. Issue 1 of 6, A6.
describe('a request of an undici that is not known', () => {
  it.each(['locked body', 'other callbacks'] as const)('is left unpatched (%s), and reported once', shape => {
    const w = watch()
    const requests = [published(shape), published(shape)]
    const before = requests.map(request => ({ ...Object.getOwnPropertyDescriptors(request) }))
    for (const request of requests) diagnostics.channel('undici:request:create').publish({ request })
    expect(requests.map(request => ({ ...Object.getOwnPropertyDescriptors(request) }))).toEqual(before)
    expect(w.blocked).toEqual([false, false])
    expect(w.bodies).toEqual([undefined, undefined])
    expect(w.faults).toEqual([])
    expect(w.notices).toEqual([expect.stringMatching(/^this version of undici is not known: /)])
  })

  it('is distinguished from one that is known', () => {
    const w = watch()
    diagnostics.channel('undici:request:create').publish({ request: published('known') })
    expect({ blocked: w.blocked, notices: w.notices, faults: w.faults }).toEqual({ blocked: [true], notices: [], faults: [] })
  })
})
