import { AuthorizationCode } from 'simple-oauth2'

export default {
  'simple-oauth2': async function refreshTheToken({ tokenUrl, fields }) {
    const { origin, pathname } = new URL(tokenUrl)
    const client = new AuthorizationCode({
      client: { id: fields.client_id, secret: 'unused' },
      auth: { tokenHost: origin, tokenPath: pathname },
      options: { authorizationMethod: 'body' },
    })
    return (await client.createToken({ refresh_token: fields.refresh_token }).refresh()) && 200
  },
}
