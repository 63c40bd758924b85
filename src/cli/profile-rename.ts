import { isOAuth, type StoredProfile } from '../domain/credential.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import { withQuietProfile } from '../login/logout.ts'
import type { ProfileStore } from '../store/profile-store.ts'
import type { StoredRest } from '../store/rest-store.ts'
import { EXIT, type ExitCode } from './exit-code.ts'
import type { Output } from './output.ts'
import { misused, type PlaceOptions, type ProfileAdmin, profileNamed, requireName, withProfileAdmin } from './profile-admin.ts'
import { changeStateSettings, type StateSettings } from './state-settings.ts'

export interface RenameCommandOptions extends PlaceOptions {
  name: string
  newName: string
}

/** `gatewatch profiles rename A B`: another name for a profile, wherever commands have named it. */
export async function renameCommand({ name, newName, ...place }: RenameCommandOptions, output: Output): Promise<ExitCode> {
  requireName('profiles rename', newName)
  return withProfileAdmin(place, { command: 'profiles rename', output }, async admin => {
    const { telemetry, store, stateFolder, written, source } = admin
    const profileId = await profileNamed(admin, name)
    if (profileId === newName) throw misused(`it is called ${telemetry.profile(newName)} already`)
    if (written && (Object.hasOwn(written.profiles, profileId) || written.order?.includes(profileId)))
      throw misused(`${source} names ${telemetry.profile(profileId)}, and is not rewritten: change its name there first`)
    await checkFree(admin, profileId, newName)
    if (await store.reload(profileId)) await move(admin, profileId, newName)
    await changeStateSettings(stateFolder, current => renamed(current, profileId, newName))
    const [from, to] = [telemetry.profile(profileId), telemetry.profile(newName)]
    output.show({ from, to }, `${from} is called ${to} now`)
    return EXIT.good
  })
}

/** The new name is free; a rename that was cut short has left the same login under both, and may be finished. */
async function checkFree({ store, settings, telemetry }: ProfileAdmin, from: string, to: string): Promise<void> {
  const [current, other] = [await store.reload(from), await store.reload(to)]
  const isHalfDone = current !== undefined && other !== undefined && isSameLogin(current, other)
  if (Object.hasOwn(settings.profiles, to) || (other && !isHalfDone)) {
    throw new GatewayError('GW_PROFILE_IN_USE', `there is a profile ${telemetry.profile(to)} already: choose another name`, {
      next: 'fix_configuration',
    })
  }
}

/** The new one is written before the old one goes: whatever comes between, the login is not lost. */
async function move({ store, telemetry }: ProfileAdmin, from: string, to: string): Promise<void> {
  await withQuietProfile({ store, telemetry, profileId: from }, async profile => {
    await store.change(to, () => ({ ...profile, id: to }))
    await moveRests(store, from, to)
    await store.change(from, () => undefined)
  })
}

/** A limit is the account's, whatever its profile is called. */
async function moveRests({ rests }: ProfileStore, from: string, to: string): Promise<void> {
  let moved: readonly StoredRest[] = []
  await rests?.change(from, current => {
    moved = current
    return current.length > 0 ? [] : current
  })
  if (moved.length > 0) await rests?.change(to, () => moved.map(rest => ({ ...rest, profileId: to })))
}

function isSameLogin({ credential: one }: StoredProfile, { credential: other }: StoredProfile): boolean {
  return isOAuth(one) && isOAuth(other) && one.refresh !== undefined && one.refresh === other.refresh
}

function renamed(current: StateSettings, from: string, to: string): StateSettings {
  const { [from]: moved, ...profiles } = current.profiles
  if (!moved && !current.order?.includes(from)) return current
  return {
    profiles: { ...profiles, ...(moved && { [to]: moved }) },
    ...(current.order && { order: current.order.map(id => (id === from ? to : id)) }),
  }
}
