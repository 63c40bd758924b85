/**
 * An application that refreshes its token with one client after the other, and says over IPC what came of each.
 *
 * Runs under any Node; `GATEWATCH_TEST` holds the URLs and tokens it is to use.
 */
import { readdirSync } from 'node:fs'

const target = JSON.parse(process.env.GATEWATCH_TEST ?? '{}')
const LONGEST_MS = 10_000

process.on('uncaughtException', error => say({ type: 'crashed', error: chainOf(error) }))

await say({ type: 'node', version: process.version })
for (const file of readdirSync(new URL('./clients/', import.meta.url)).sort()) {
  if (file === 'undici-forms.mjs') continue
  const { default: forms, isProviderCall = false } = await import(`./clients/${file}`)
  for (const [client, refresh] of Object.entries(forms)) {
    await say({ type: 'begin', client, file, isProviderCall })
    const outcome = await Promise.race([turns(refresh), timeLimit()])
    await say({ type: 'end', client, ...outcome })
  }
}
process.exit(0)

/** As many turns at once as are asked for; they must come to the same. */
async function turns(refresh) {
  const [first, ...others] = await Promise.all(Array.from({ length: target.atOnce }, () => turn(refresh)))
  return others.find(other => JSON.stringify(other) !== JSON.stringify(first)) ?? first
}

/** A turn of the application, some frames above the refresh. */
async function turn(refresh) {
  try {
    return { status: await withToken(refresh) }
  } catch (error) {
    return { error: chainOf(error) }
  }
}

async function withToken(refresh) {
  await undefined
  return await refresh(target)
}

async function timeLimit() {
  await new Promise(resolve => setTimeout(resolve, LONGEST_MS).unref())
  return { error: ['no end'] }
}

/** The codes, or else the names, of an error and its causes. */
function chainOf(error) {
  const chain = []
  for (let one = error; one && chain.length < 8; one = one.cause ?? one.errors?.[0]) chain.push(String(one.code ?? one.name))
  return chain
}

/** Waits for the parent, which looks at what has arrived in between. */
function say(message) {
  return new Promise(resolve => {
    process.once('message', resolve)
    process.send(message)
  })
}
