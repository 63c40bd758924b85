import { expect, it } from 'vitest'
import { stateFolder } from '../support/clean-up.ts'
import { startNode, watchingEnvironment } from './watched.ts'
import { startServer } from './world.ts'

/** Follows async resources as a context manager of the host does, and says how many of ours were made and are left. */
const APPLICATION = `
import { createHook } from 'node:async_hooks'
import { setImmediate } from 'node:timers/promises'
import { request } from 'undici'
const url = process.argv[1]
const open = new Set()
let made = 0
createHook({
  init: (id, type) => { if (type === 'GATEWATCH_DISPATCH') { made += 1; open.add(id) } },
  destroy: id => void open.delete(id),
}).enable()
for (let count = 0; count < 20; count += 1)
  await (await request(url, { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'grant_type=refresh_token&refresh_token=rt' })).body.text()
// Those of the last request or two may still be on a stack of the client; under coalesce a request has two.
const few = made / 10
for (let turn = 0; turn < 100 && open.size > few; turn += 1) { gc(); await setImmediate() }
console.log(JSON.stringify({ isMade: made >= 20, isDestroyed: open.size <= few }))
`

// What was seen: each dispatch of a POST made an AsyncResource that was never destroyed, so the tables of a host that
// follows them grew for ever. Issue 1 of 6, A6.
it.each(['observe', 'coalesce'])('an async resource of a dispatch is destroyed when it is over (%s)', async policy => {
  const { url } = await startServer()
  const environment = watchingEnvironment(stateFolder(), { url, steps: [] }, { policy, gate: [], coalesceWindowMs: 0 })
  const { code, stdout, stderr } = await startNode(['--expose-gc', '--input-type=module', '--eval', APPLICATION, url], environment).ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(JSON.parse(stdout)).toEqual({ isMade: true, isDestroyed: true })
})
