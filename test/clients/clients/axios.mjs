import axios from 'axios'

export default {
  axios: async function refreshTheToken({ tokenUrl, form }) {
    return (await axios.post(tokenUrl, form)).status
  },
  'axios, JSON': async function refreshTheToken({ jsonTokenUrl, fields }) {
    return (await axios.post(jsonTokenUrl, fields)).status
  },
  'axios, fetch adapter': async function refreshTheToken({ tokenUrl, form }) {
    return (await axios.post(tokenUrl, new URLSearchParams(form), { adapter: 'fetch' })).status
  },
  'axios, redirected': async function refreshTheToken({ movedTokenUrl, form }) {
    return (await axios.post(movedTokenUrl, form)).status
  },
}
