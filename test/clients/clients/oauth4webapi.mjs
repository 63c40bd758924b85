import * as oauth from 'oauth4webapi'

export default {
  oauth4webapi: async function refreshTheToken({ tokenUrl, fields }) {
    const server = { issuer: new URL(tokenUrl).origin, token_endpoint: tokenUrl }
    const options = { [oauth.allowInsecureRequests]: true }
    const answer = await oauth.refreshTokenGrantRequest(
      server,
      { client_id: fields.client_id },
      oauth.None(),
      fields.refresh_token,
      options,
    )
    return answer.status
  },
}
