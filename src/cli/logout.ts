import { type LoggedOut, logout } from '../login/logout.ts'
import { EXIT, type ExitCode } from './exit-code.ts'
import type { Output } from './output.ts'
import { type PlaceOptions, type ProfileAdmin, profileNamed, withProfileAdmin } from './profile-admin.ts'
import { changeStateSettings, withoutProfile } from './state-settings.ts'

export interface LogoutCommandOptions extends PlaceOptions {
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
