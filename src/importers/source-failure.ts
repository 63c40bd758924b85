import { configError, GatewayError } from '../domain/gateway-error.ts'
import { systemCode } from '../store/store-failure.ts'

/** The error for a source that is not where it was looked for. */
export function notFound(path: string, hint: string): GatewayError {
  return configError(`${path}: there is nothing to import here; ${hint}`)
}

/** The error for a file of a source that cannot be opened or copied. */
export function unreadableSource(path: string, cause: unknown): GatewayError {
  const code = systemCode(cause)
  const message = `${path}: cannot be read${code && ` (${code})`}; nothing was imported; give this user the right to read it and try again`
  return new GatewayError('GW_STORE_UNREADABLE', message, { next: 'fix_permissions', cause })
}

/**
 * The error for a file of a source that is not what it should be.
 *
 * @param what The fault, by key, type and what is allowed; never a value: it may be a token.
 */
export function damagedSource(path: string, what: string, cause?: unknown): GatewayError {
  const message = `${path}: ${what}. Nothing was imported; the file is left as it is`
  return new GatewayError('GW_STORE_DAMAGED', message, { next: 'restore_store', ...(cause !== undefined && { cause }) })
}
