/** The provider's code for a request that comes from a place it does not serve. */
export const REGION_CODE = 'unsupported_country_region_territory'

/** The provider's codes for an account that is shut: no other credential of it serves. */
export const ACCOUNT_CODES: ReadonlySet<string> = new Set([
  'account_deactivated',
  'account_disabled',
  'account_suspended',
  'organization_deactivated',
])
