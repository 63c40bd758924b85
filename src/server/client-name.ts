import type { IncomingMessage } from 'node:http'
import { sanitizeName } from '../telemetry/sanitize-name.ts'

/** How a client may name itself, and what of its user agent is a name: a product, not a sentence. */
const CALLER_NAME = /^[\w.:@/ -]{1,64}$/
const PRODUCT = /^[\w.-]{1,40}(?:\/[\w.-]{1,20})?/

/** The name of a client that does not give one. */
export const UNKNOWN_CLIENT = 'client:unknown'

/** The name of a client, where code has file and function: what it calls itself, else the product of its user agent. */
export function clientName({ headers }: Pick<IncomingMessage, 'headers'>): string | undefined {
  const own = headers['x-gatewatch-caller']
  if (typeof own === 'string' && CALLER_NAME.test(own)) return `client:${sanitizeName(own)}`
  const product = PRODUCT.exec(headers['user-agent'] ?? '')?.[0]
  return product && `client:${sanitizeName(product)}`
}
