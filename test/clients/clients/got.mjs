import got from 'got'

export default {
  got: async function refreshTheToken({ tokenUrl, fields }) {
    return (await got.post(tokenUrl, { form: fields, retry: { limit: 0 } })).statusCode
  },
  'got, JSON': async function refreshTheToken({ jsonTokenUrl, fields }) {
    return (await got.post(jsonTokenUrl, { json: fields, responseType: 'json', retry: { limit: 0 } })).statusCode
  },
  'got, HTTP/2': async function refreshTheToken({ secureTokenUrl, fields }) {
    return (await got.post(secureTokenUrl, { form: fields, http2: true, retry: { limit: 0 } })).statusCode
  },
}
