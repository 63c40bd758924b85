import { EXIT, type ExitCode } from './exit-code.ts'
import type { Output } from './output.ts'
import { misused, type PlaceOptions, profileNamed, withProfileAdmin } from './profile-admin.ts'
import { changeStateSettings } from './state-settings.ts'

export interface OrderCommandOptions extends PlaceOptions {
  /** Profiles in the order in which they are tried; none shows the order. */
  names: readonly string[]
  /** Takes the order back. */
  clear?: boolean
}

/** `gatewatch profiles order A B C`: the order in which profiles are tried; those not named are not used. */
export async function orderCommand({ names, clear = false, ...place }: OrderCommandOptions, output: Output): Promise<ExitCode> {
  return withProfileAdmin(place, { command: 'profiles order', output }, async admin => {
    const { telemetry, settings, written, source, stateFolder } = admin
    const shown = (order: readonly string[] | undefined) => order?.map(id => telemetry.profile(id))
    if (names.length === 0 && !clear) {
      const order = shown(settings.order)
      const from = written?.order ? source : stateFolder
      output.show({ order: order ?? null }, order ? `${order.join('\n')}\n\n(from ${from})` : BY_ITSELF)
      return EXIT.good
    }
    if (names.length > 0 && clear) throw misused('--clear takes the order back: leave the names out')
    if (written?.order) throw misused(`${source} sets the order, and is not rewritten: change "order" there, or take it out`)
    const order: string[] = []
    for (const name of names) order.push(await profileNamed(admin, name))
    const twice = order.find((id, index) => order.indexOf(id) !== index)
    if (twice !== undefined) throw misused(`${telemetry.profile(twice)} is named twice`)
    await changeStateSettings(stateFolder, ({ profiles }) => ({ profiles, ...(!clear && { order }) }))
    const unused = [...(await admin.store.list()).map(({ id }) => id), ...Object.keys(settings.profiles)].filter(id => !order.includes(id))
    const rest = clear || unused.length === 0 ? '' : `\nNot named, so that no call will use it: ${shown([...new Set(unused)])?.join(', ')}`
    output.show({ order: clear ? null : shown(order) }, `${clear ? BY_ITSELF : shown(order)?.join('\n')}${rest}\n${NEXT_START}`)
    return EXIT.good
  })
}

const BY_ITSELF = 'no order is set: logins before tokens before keys, then whichever was used least recently'
/** What every command says that changes settings. */
export const NEXT_START = 'A gateway that runs uses it from its next start.'
