/**
 * Patterns of secrets, most specific first. They guard free text (paths, stacks, names that clients choose); values
 * that are secret by their place (headers, bodies, tokens) never get this far.
 */
const SECRETS: readonly (readonly [RegExp, string])[] = [
  [/\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?/g, '[jwt]'],
  [/\b(?:Bearer|Basic)\s+[\w.~+/=-]{8,}/gi, '[authorization]'],
  [/\b(?:sk|pk|rk|rt|at|ya29|gh[oprsu]|xox[abp])[-_.][\w.-]{8,}/gi, '[token]'],
  [/[\w.+%-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+/g, '[e-mail]'],
  [/\/\/[^/\s:@]+:[^/\s@]+@/g, '//[credentials]@'],
  [/([?&#;](?:[\w-]*(?:token|key|secret|code|verifier|password|state|sig|auth)[\w-]*)=)[^&\s#]+/gi, '$1[secret]'],
  [/\b(?=[A-Za-z0-9_-]*\d)(?=[A-Za-z0-9_-]*[A-Za-z])[A-Za-z0-9_-]{32,}\b/g, '[opaque]'],
]

/** Replaces everything in `text` that looks like a secret or an e-mail address by what it is. */
export function scrubText(text: string): string {
  let clean = text
  for (const [pattern, name] of SECRETS) clean = clean.replace(pattern, name)
  return clean
}
