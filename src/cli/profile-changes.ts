import { isOAuth, type StoredProfile } from '../domain/credential.ts'
import type { Billing } from '../domain/enums.ts'
import { configError, GatewayError } from '../domain/gateway-error.ts'
import { type LoggedOut, logout, withQuietProfile } from '../login/logout.ts'
import { variableName } from '../settings/options.ts'
import type { ProfileStore, StoredRest } from '../store/profile-store.ts'
import { changeStateSettings, type StateSettings, withoutProfile } from './config-file.ts'
import { EXIT, type ExitCode, type Output } from './output.ts'
import {
  adviceOnOrder,
  knownProfiles,
  type PlaceOptions,
  type ProfileAdmin,
  profileNamed,
  requireName,
  withProfileAdmin,
} from './profile-admin.ts'

interface AddCommandOptions extends PlaceOptions {
  name: string
  provider: string
  /** Environment variable that holds the key, where the gateway runs. */
  apiKeyEnv: string
  billing?: Billing
}

/** `gatewatch profiles add NAME --provider P --api-key-env VARIABLE`: a profile with a key; the key itself is stored nowhere. */
export async function addCommand({ name, provider, apiKeyEnv, billing, ...place }: AddCommandOptions, output: Output): Promise<ExitCode> {
  requireName('profiles add', name)
  return withProfileAdmin(place, { command: 'profiles add', output }, async admin => {
    const { telemetry, registry, stateFolder } = admin
    registry.get(provider)
    // The argument is not repeated unless it looks like a name: it may be the key itself.
    const variable = variableName(apiKeyEnv)
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(apiKeyEnv))
      throw configError(`--api-key-env wants the name of an environment variable; ${variable}`)
    if ((await knownProfiles(admin)).includes(name))
      throw configError(
        `there is a profile ${telemetry.profile(name)} already: choose another name, or take it away with gatewatch profiles logout`,
      )
    const profile = { provider, apiKeyEnv, ...(billing && { billing }) }
    await changeStateSettings(stateFolder, current => ({ ...current, profiles: { ...current.profiles, [name]: profile } }))
    const isSet = Boolean(process.env[apiKeyEnv])
    const lines = [`${telemetry.profile(name)} takes its key from ${variable}. ${NEXT_START}`]
    if (!isSet) lines.push(`${variable} is not set here: a gateway that is started without it refuses to start`)
    const advice = adviceOnOrder(admin, name)
    if (advice !== undefined) lines.push(advice)
    output.show({ profile: telemetry.profile(name), provider, apiKeyEnv: variable, isSet }, lines.join('\n'))
    return isSet ? EXIT.good : EXIT.warning
  })
}

interface OrderCommandOptions extends PlaceOptions {
  /** Profiles in the order in which they are tried; none shows the order. */
  names: readonly string[]
  /** Takes the order back. */
  clear?: boolean
}

/** `gatewatch profiles order A B C`: the order in which profiles are tried; those not named are not used. */
export async function orderCommand({ names, clear = false, ...place }: OrderCommandOptions, output: Output): Promise<ExitCode> {
  return withProfileAdmin(place, { command: 'profiles order', output }, async admin => {
    const { written, source, stateFolder } = admin
    if (names.length === 0 && !clear) return showOrder(admin, output)
    if (names.length > 0 && clear) throw configError('--clear removes the order: leave the names out')
    if (written?.order) throw configError(`${source} sets the order, and is not rewritten: change "order" there, or take it out`)
    if (clear) {
      await changeStateSettings(stateFolder, ({ profiles }) => ({ profiles }))
      output.show({ order: null }, `${NO_ORDER}\n${NEXT_START}`)
      return EXIT.good
    }
    const order = await orderOf(admin, names)
    await changeStateSettings(stateFolder, ({ profiles }) => ({ profiles, order }))
    const shown = order.map(id => admin.telemetry.profile(id))
    output.show({ order: shown }, `${shown.join('\n')}${await unusedNote(admin, order)}\n${NEXT_START}`)
    return EXIT.good
  })
}

function showOrder({ telemetry, settings, written, source, stateFolder }: ProfileAdmin, output: Output): ExitCode {
  const order = settings.order?.map(id => telemetry.profile(id))
  const from = written?.order ? source : stateFolder
  output.show({ order: order ?? null }, order ? `${order.join('\n')}\n\n(from ${from})` : NO_ORDER)
  return EXIT.good
}

/** The profiles of these names. @throws {GatewayError} where one is unknown or named twice. */
async function orderOf(admin: ProfileAdmin, names: readonly string[]): Promise<string[]> {
  const order: string[] = []
  for (const name of names) order.push(await profileNamed(admin, name))
  const twice = order.find((id, index) => order.indexOf(id) !== index)
  if (twice !== undefined) throw configError(`${admin.telemetry.profile(twice)} is named twice`)
  return order
}

/** The profiles that `order` leaves out, as a line. */
async function unusedNote({ telemetry, settings, store }: ProfileAdmin, order: readonly string[]): Promise<string> {
  const known = new Set([...(await store.list()).map(({ id }) => id), ...Object.keys(settings.profiles)])
  const unused = [...known].filter(id => !order.includes(id)).map(id => telemetry.profile(id))
  return unused.length === 0 ? '' : `\nNot named, so that no call will use it: ${unused.join(', ')}`
}

const NO_ORDER = 'no order is set: logins before tokens before keys, then whichever was used least recently'
/** Printed by every command that changes settings. */
const NEXT_START = 'A gateway that runs uses it from its next start.'

interface RenameCommandOptions extends PlaceOptions {
  name: string
  newName: string
}

/** `gatewatch profiles rename A B`: another name for a profile, wherever commands have named it. */
export async function renameCommand({ name, newName, ...place }: RenameCommandOptions, output: Output): Promise<ExitCode> {
  requireName('profiles rename', newName)
  return withProfileAdmin(place, { command: 'profiles rename', output }, async admin => {
    const { telemetry, store, stateFolder, written, source } = admin
    const profileId = await profileNamed(admin, name)
    if (profileId === newName) throw configError(`it is called ${telemetry.profile(newName)} already`)
    if (written && (Object.hasOwn(written.profiles, profileId) || written.order?.includes(profileId)))
      throw configError(`${source} names ${telemetry.profile(profileId)}, and is not rewritten: change its name there first`)
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

/** The new profile is written before the old one is deleted, so that an interruption cannot lose the login. */
async function move({ store, telemetry }: ProfileAdmin, from: string, to: string): Promise<void> {
  await withQuietProfile({ store, telemetry, profileId: from }, async profile => {
    await store.change(to, () => ({ ...profile, id: to }))
    await moveRests(store, from, to)
    await store.change(from, () => undefined)
  })
}

/** Cooldowns move with the login: a limit belongs to the account. */
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

interface WakeCommandOptions extends PlaceOptions {
  name: string
}

/** `gatewatch profiles wake NAME`: ends the rests of a profile whose cause is over, in every process of the state folder. */
export async function wakeCommand({ name, ...place }: WakeCommandOptions, output: Output): Promise<ExitCode> {
  return withProfileAdmin(place, { command: 'profiles wake', output }, async admin => {
    const { store, telemetry } = admin
    const profileId = await profileNamed(admin, name)
    let ended = 0
    const now = Date.now()
    await store.rests?.change(profileId, rests => {
      ended = rests.filter(({ until }) => until > now).length
      return rests.length > 0 ? [] : rests
    })
    const profile = telemetry.profile(profileId)
    const message = ended === 0 ? `${profile} does not rest` : `${profile} rests no more; a gateway that runs uses it within a second`
    output.show({ profile, ended }, message)
    return EXIT.good
  })
}

interface LogoutCommandOptions extends PlaceOptions {
  name: string
  force?: boolean
}

/** `gatewatch profiles logout NAME`: gives the login back to its provider and forgets it. */
export async function logoutCommand({ name, force = false, ...place }: LogoutCommandOptions, output: Output): Promise<ExitCode> {
  return withProfileAdmin(place, { command: 'profiles logout', output, asksProvider: true }, async admin => {
    const { store, telemetry, registry, caller, stateFolder } = admin
    const profileId = await profileNamed(admin, name)
    const isStored = (await store.reload(profileId)) !== undefined
    const loggedOut: LoggedOut = isStored
      ? await logout({
          ...{ store, telemetry, caller, profileId, force },
          providerOf: id => registry.get(id),
          signal: new AbortController().signal,
        })
      : { revoked: 'nothing_to_revoke' }
    await changeStateSettings(stateFolder, current => withoutProfile(current, profileId))
    const { revoked, error } = loggedOut
    output.show(
      { profile: telemetry.profile(profileId), revoked, forgotten: true, ...(error && { why: error.message }) },
      textOf(admin, profileId, loggedOut),
    )
    return revoked === 'not_revoked' ? EXIT.warning : EXIT.good
  })
}

function textOf({ telemetry, written, source }: ProfileAdmin, profileId: string, { revoked, error }: LoggedOut): string {
  const name = telemetry.profile(profileId)
  const lines = {
    revoked: `${name}: the provider took the login back, and it is forgotten here`,
    not_revoked: `${name}: forgotten here, and NOT taken back: ${error?.message ?? ''}. It lives on at the provider until it expires`,
    nothing_to_revoke: `${name}: forgotten here; there was nothing to give back`,
  }
  const isWritten = written !== undefined && (Object.hasOwn(written.profiles, profileId) || written.order?.includes(profileId) === true)
  return isWritten ? `${lines[revoked]}\n${source} still names it: take it out there, or sign in again` : lines[revoked]
}
