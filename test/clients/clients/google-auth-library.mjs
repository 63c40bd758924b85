import { OAuth2Client } from 'google-auth-library'

export default {
  'google-auth-library': async function refreshTheToken({ tokenUrl, fields }) {
    const client = new OAuth2Client({ clientId: fields.client_id, clientSecret: 'unused', endpoints: { oauth2TokenUrl: tokenUrl } })
    client.setCredentials({ refresh_token: fields.refresh_token })
    const { res } = await client.getAccessToken()
    return res.status
  },
}
