import type { Settings } from '../settings/options.ts'

/** Stands for one of the gateway's keys in an address that is printed: a key itself is never printed. */
const KEY_PLACE = '<key>'

/** Where a gateway listens, and whether its clients must show a key. */
export type ListenAddress = Pick<Settings['listen'], 'host' | 'port' | 'keysEnv'>

/** Stands for the port that a gateway is given when it begins to listen. */
const PORT_PLACE = '<port>'

/** The address of a gateway; with a place for the port where the settings leave it to the system (0). */
export function listenUrl({ host, port }: Pick<ListenAddress, 'host' | 'port'>): string {
  return `http://${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${port === 0 ? PORT_PLACE : port}`
}

/**
 * The token URL that a client of the token endpoint gate is given.
 *
 * @param base Address of the gateway.
 * @param provider Id of a provider, or what stands for one.
 */
export function tokenGateUrl(base: string, provider: string, { keysEnv }: Pick<ListenAddress, 'keysEnv'>): string {
  return `${base}/oauth/${provider}/token${keysEnv === undefined ? '' : `/${KEY_PLACE}`}`
}

/** What to put in the place of the key; empty where there is none. */
export function keyPlaceNote({ keysEnv }: Pick<ListenAddress, 'keysEnv'>): string {
  return keysEnv === undefined ? '' : ` (${keyPlaceText(keysEnv)})`
}

/** What to put in the places of an address that `listenUrl` and `tokenGateUrl` wrote; empty where there are none. */
export function placesNote({ keysEnv, port }: Pick<ListenAddress, 'keysEnv' | 'port'>): string {
  const notes = [
    port === 0 && `${PORT_PLACE}: listen.port is 0, so that it is known once the gateway runs; gatewatch serve prints it`,
    keysEnv !== undefined && keyPlaceText(keysEnv),
  ].filter(Boolean)
  return notes.length === 0 ? '' : ` (${notes.join('; ')})`
}

function keyPlaceText(keysEnv: string): string {
  return `${KEY_PLACE}: one of the keys in ${keysEnv}, percent-encoded`
}
