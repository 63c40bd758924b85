import ky from 'ky'

export default {
  ky: async function refreshTheToken({ tokenUrl, form }) {
    return (await ky.post(tokenUrl, { body: new URLSearchParams(form), retry: 0 })).status
  },
}
