import { type GatewayError, isGatewayError } from '../domain/gateway-error.ts'

/** The error that says which new tokens are lost, wherever it stands among what went wrong at an end. */
export function unsavedIn(error: unknown): GatewayError | undefined {
  if (isGatewayError(error, 'GW_NOT_PERSISTED')) return error
  if (!(error instanceof AggregateError)) return undefined
  return error.errors.map(unsavedIn).find(found => found !== undefined)
}
