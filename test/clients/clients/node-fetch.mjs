import fetch3 from 'node-fetch'
import fetch2 from 'node-fetch-2'

export default {
  'node-fetch 2': async function refreshTheToken({ tokenUrl, form }) {
    return (await fetch2(tokenUrl, { method: 'POST', body: new URLSearchParams(form) })).status
  },
  'node-fetch 3': async function refreshTheToken({ tokenUrl, form }) {
    return (await fetch3(tokenUrl, { method: 'POST', body: new URLSearchParams(form) })).status
  },
}
