import superagent from 'superagent'

export default {
  superagent: async function refreshTheToken({ tokenUrl, form }) {
    return (await superagent.post(tokenUrl).type('form').send(form)).status
  },
}
