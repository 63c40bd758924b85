import * as openid from 'openid-client'

export default {
  'openid-client': async function refreshTheToken({ tokenUrl, fields }) {
    const server = { issuer: new URL(tokenUrl).origin, token_endpoint: tokenUrl }
    const configuration = new openid.Configuration(server, fields.client_id, undefined, openid.None())
    openid.allowInsecureRequests(configuration)
    return (await openid.refreshTokenGrant(configuration, fields.refresh_token)) && 200
  },
}
