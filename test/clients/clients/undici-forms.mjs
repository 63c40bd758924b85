import { Readable, Writable } from 'node:stream'
import { finished } from 'node:stream/promises'

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

/** The ways of one version of undici. */
export function undiciForms(name, undici) {
  const { Agent, Pool, ProxyAgent, request, fetch, stream, pipeline, interceptors } = undici
  const post = body => ({ method: 'POST', body, headers: FORM })
  return {
    [`${name} request`]: async function refreshTheToken({ tokenUrl, form }) {
      return await read(await request(tokenUrl, post(form)))
    },
    [`${name} request, iterable`]: async function refreshTheToken({ tokenUrl, form }) {
      return await read(await request(tokenUrl, post(Readable.toWeb(Readable.from([Buffer.from(form)])))))
    },
    [`${name} fetch`]: async function refreshTheToken({ tokenUrl, form }) {
      const answer = await fetch(tokenUrl, post(form))
      await answer.text()
      return answer.status
    },
    [`${name} stream`]: async function refreshTheToken({ tokenUrl, form }) {
      let status
      await stream(tokenUrl, post(form), ({ statusCode }) => {
        status = statusCode
        return new Writable({ write: (_chunk, _encoding, done) => done() })
      })
      return status
    },
    [`${name} pipeline`]: async function refreshTheToken({ tokenUrl, form }) {
      let status
      const line = pipeline(tokenUrl, { method: 'POST', headers: FORM }, ({ statusCode, body }) => {
        status = statusCode
        return body
      })
      line.end(form)
      await finished(line.resume())
      return status
    },
    [`${name} Pool, queued`]: async function refreshTheToken({ tokenUrl, slowUrl, form }) {
      const { origin, pathname } = new URL(tokenUrl)
      const pool = new Pool(origin, { connections: 1 })
      try {
        const busy = pool.request({ method: 'GET', path: new URL(slowUrl).pathname })
        const answer = pool.request({ path: pathname, ...post(form) })
        await read(await busy)
        return await read(await answer)
      } finally {
        await pool.destroy()
      }
    },
    [`${name} ProxyAgent`]: async function refreshTheToken({ tokenUrl, proxyUrl, form }) {
      const proxy = new ProxyAgent(proxyUrl)
      try {
        return await read(await request(tokenUrl, { ...post(form), dispatcher: proxy }))
      } finally {
        await proxy.destroy()
      }
    },
    [`${name} ProxyAgent, TLS`]: async function refreshTheToken({ secureTokenUrl, proxyUrl, form }) {
      const proxy = new ProxyAgent(proxyUrl)
      try {
        return await read(await request(secureTokenUrl, { ...post(form), dispatcher: proxy }))
      } finally {
        await proxy.destroy()
      }
    },
    [`${name} HTTP/2`]: async function refreshTheToken({ secureTokenUrl, form }) {
      const agent = new Agent({ allowH2: true })
      try {
        return await read(await request(secureTokenUrl, { ...post(form), dispatcher: agent }))
      } finally {
        await agent.destroy()
      }
    },
    ...(interceptors?.retry && {
      [`${name} interceptor, retry`]: async function refreshTheToken({ tokenUrl, form }) {
        const agent = new Agent()
        try {
          const dispatcher = agent.compose(interceptors.retry({ maxRetries: 1 }))
          return await read(await request(tokenUrl, { ...post(form), dispatcher }))
        } finally {
          await agent.destroy()
        }
      },
    }),
    ...(interceptors?.dns && {
      [`${name} interceptor, dns`]: async function refreshTheToken({ localTokenUrl, form }) {
        const agent = new Agent()
        try {
          const dispatcher = agent.compose(interceptors.dns({ affinity: 4 }))
          return await read(await request(localTokenUrl, { ...post(form), dispatcher }))
        } finally {
          await agent.destroy()
        }
      },
    }),
    ...(interceptors?.redirect && {
      [`${name} interceptor, redirect`]: async function refreshTheToken({ movedTokenUrl, form }) {
        const agent = new Agent()
        try {
          const dispatcher = agent.compose(interceptors.redirect({ maxRedirections: 2 }))
          return await read(await request(movedTokenUrl, { ...post(form), dispatcher }))
        } finally {
          await agent.destroy()
        }
      },
    }),
  }
}

async function read({ statusCode, body }) {
  await body.dump()
  return statusCode
}
