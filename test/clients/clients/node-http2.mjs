import { once } from 'node:events'
import { connect } from 'node:http2'

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

/** What Node brings along for HTTP/2, on a session that is not there yet and on one that is. */
export default {
  'node:http2': async function refreshTheToken({ secureTokenUrl, form }) {
    const { origin, pathname } = new URL(secureTokenUrl)
    const session = connect(origin)
    try {
      return await read(session.request({ ':method': 'POST', ':path': pathname, ...FORM }), form)
    } finally {
      session.destroy()
    }
  },
  'node:http2, connected': async function refreshTheToken({ clearHttp2TokenUrl, form }) {
    const { origin, pathname } = new URL(clearHttp2TokenUrl)
    const session = connect(origin)
    try {
      await once(session, 'connect')
      return await read(session.request({ ':method': 'POST', ':path': pathname, ...FORM }), form)
    } finally {
      session.destroy()
    }
  },
}

async function read(stream, form) {
  stream.end(form)
  const [headers] = await once(stream, 'response')
  await once(stream.resume(), 'end')
  return headers[':status']
}
