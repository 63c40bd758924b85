/** Global fetch, in the forms in which applications give it a body. */
export default {
  'fetch, text': async function refreshTheToken({ tokenUrl, form }) {
    return read(await fetch(tokenUrl, { method: 'POST', body: form, headers: FORM }))
  },
  'fetch, URLSearchParams': async function refreshTheToken({ tokenUrl, form }) {
    return read(await fetch(tokenUrl, { method: 'POST', body: new URLSearchParams(form) }))
  },
  'fetch, JSON': async function refreshTheToken({ jsonTokenUrl, fields }) {
    const headers = { 'content-type': 'application/json' }
    return read(await fetch(jsonTokenUrl, { method: 'POST', body: JSON.stringify(fields), headers }))
  },
  'fetch, bytes': async function refreshTheToken({ tokenUrl, form }) {
    return read(await fetch(tokenUrl, { method: 'POST', body: new TextEncoder().encode(form), headers: FORM }))
  },
  'fetch, Blob': async function refreshTheToken({ tokenUrl, form }) {
    return read(await fetch(tokenUrl, { method: 'POST', body: new Blob([form]), headers: FORM }))
  },
  'fetch, stream': async function refreshTheToken({ tokenUrl, form }) {
    return read(await fetch(tokenUrl, { method: 'POST', body: new Blob([form]).stream(), headers: FORM, duplex: 'half' }))
  },
  'fetch, FormData': async function refreshTheToken({ tokenUrl, fields }) {
    const body = new FormData()
    for (const [name, value] of Object.entries(fields)) body.set(name, value)
    return read(await fetch(tokenUrl, { method: 'POST', body }))
  },
  'fetch, Request': async function refreshTheToken({ tokenUrl, form }) {
    return read(await fetch(new Request(tokenUrl, { method: 'POST', body: form, headers: FORM })))
  },
  'fetch, redirected': async function refreshTheToken({ movedTokenUrl, form }) {
    return read(await fetch(movedTokenUrl, { method: 'POST', body: form, headers: FORM }))
  },
  'fetch, TLS': async function refreshTheToken({ secureTokenUrl, form }) {
    return read(await fetch(secureTokenUrl, { method: 'POST', body: form, headers: FORM }))
  },
}

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

async function read(answer) {
  await answer.text()
  return answer.status
}
