/**
 * The oldest Node that Gatewatch runs on, as in `engines` of package.json.
 *
 * Files that import this one before they check it must be parsed by a Node that is older still: no import of a package, nor of
 * anything that Node lacked in version 18.
 */
export const LEAST_NODE = '22.22.3'

/** Whether a version, such as `process.versions.node`, is older than `LEAST_NODE`. */
export function isTooOld(version: string): boolean {
  const [major, minor, patch] = numbersOf(version)
  const [leastMajor, leastMinor, leastPatch] = numbersOf(LEAST_NODE)
  if (major !== leastMajor) return major < leastMajor
  return minor === leastMinor ? patch < leastPatch : minor < leastMinor
}

function numbersOf(version: string): [number, number, number] {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(part => Number.parseInt(part, 10))
  return [major, minor, patch]
}
