import { EXIT, type ExitCode } from './exit-code.ts'
import type { Output } from './output.ts'
import { type PlaceOptions, profileNamed, withProfileAdmin } from './profile-admin.ts'

export interface WakeCommandOptions extends PlaceOptions {
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
