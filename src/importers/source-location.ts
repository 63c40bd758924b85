import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { SourceLocation } from './found-profile.ts'
import { notFound } from './source-failure.ts'
import { isThere } from './source-file.ts'

/**
 * The file of a source that has one: what `place.path` names, or `name` in the folder it names, else in `folder`.
 *
 * @param hint What to do when there is none.
 * @throws {GatewayError} `GW_CONFIG`.
 */
export async function fileOf(place: SourceLocation, folder: string, name: string, hint: string): Promise<string> {
  const given = place.path === undefined ? folder : resolve(place.path)
  const path = (await isFolder(given)) || place.path === undefined ? join(given, name) : given
  if (await isThere(path)) return path
  throw notFound(path, hint)
}

export async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    status => status.isDirectory(),
    () => false,
  )
}
