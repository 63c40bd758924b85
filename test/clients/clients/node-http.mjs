import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

/** What Node brings along for HTTP/1. */
export default {
  'node:http': async function refreshTheToken({ tokenUrl, form }) {
    return read(http.request(tokenUrl, { method: 'POST', headers: FORM }).end(form))
  },
  'node:http, pieces': async function refreshTheToken({ tokenUrl, form }) {
    const request = http.request(tokenUrl, { method: 'POST', headers: FORM })
    request.write(form.slice(0, 9))
    request.end(form.slice(9))
    return read(request)
  },
  'node:http, piped': async function refreshTheToken({ tokenUrl, form }) {
    const request = http.request(tokenUrl, { method: 'POST', headers: FORM })
    const [status] = await Promise.all([read(request), pipeline(Readable.from([form.slice(0, 9), form.slice(9)]), request)])
    return status
  },
  'node:http, flushed headers': async function refreshTheToken({ tokenUrl, form }) {
    const request = http.request(tokenUrl, { method: 'POST', headers: FORM })
    request.flushHeaders()
    request.end(form)
    return read(request)
  },
  'node:http, keep-alive': async function refreshTheToken({ tokenUrl, slowUrl, form }) {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    try {
      await read(http.get(slowUrl, { agent }))
      return await read(http.request(tokenUrl, { method: 'POST', headers: FORM, agent }).end(form))
    } finally {
      agent.destroy()
    }
  },
  'node:http, Expect': async function refreshTheToken({ tokenUrl, form }) {
    const request = http.request(tokenUrl, { method: 'POST', headers: { ...FORM, expect: '100-continue' } })
    request.on('continue', () => request.end(form))
    request.flushHeaders()
    return read(request)
  },
  'node:https': async function refreshTheToken({ secureTokenUrl, form }) {
    return read(https.request(secureTokenUrl, { method: 'POST', headers: FORM }).end(form))
  },
}

async function read(request) {
  const [answer] = await once(request, 'response')
  await once(answer.resume(), 'end')
  return answer.statusCode
}
