import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import type { Diagnosis } from '../../src/diagnose/diagnose.ts'
import { EventReader } from '../../src/events/event-reader.ts'
import { refreshList } from '../../src/events/queries/refresh-list.ts'
import { readEvents } from '../../src/events/read-events.ts'
import { runCli } from '../cli/run-cli.ts'
import { afterwards } from '../support/clean-up.ts'
import { storeWorld } from './world-events.ts'

/** A store with three refreshes, closed. */
async function stored() {
  const w = storeWorld()
  for (const name of ['one', 'two', 'three'])
    w.refresh({
      caller: { label: `src/${name}.ts#f`, kind: 'code', file: `src/${name}.ts`, line: 1 },
      steps: [{ name: 'joined', atMs: 1, caller: { label: 'b', kind: 'code' } }],
      links: [{ traceId: 'a', spanId: 'b' }],
    })
  await w.store.shutdown()
  const database = new DatabaseSync(w.store.path)
  afterwards(() => database.close())
  const text = String(database.prepare('SELECT rest FROM event WHERE id = 2').get()?.rest)
  return { folder: w.folder, text, damage: (rest: string) => database.prepare('UPDATE event SET rest = ? WHERE id = 2').run(rest) }
}

// Seen: one bad byte in a row ended diagnose with a stack trace and emptied the page.
// Why: every reader parsed rows on its own and trusted what came.
// The fix: one reader that checks a row; a damaged one is skipped, counted and reported. Issue 1, D5.
describe('an event store with a damaged row', () => {
  it('is read without it, whichever byte of the row is bad', async () => {
    const w = await stored()
    let skipped = 0
    for (let at = 0; at < w.text.length; at += 1)
      for (const byte of ['x', '9', '{', '\u0001']) {
        w.damage(w.text.slice(0, at) + byte + w.text.slice(at + 1))
        readEvents(w.folder, database => {
          const reader = new EventReader(database)
          const events = [...reader.events()]
          expect(events.length + reader.gaps.unreadable).toBe(3)
          skipped += reader.gaps.unreadable
          const { refreshes, gaps } = refreshList(database)
          expect(refreshes.length + gaps.unreadable).toBe(3)
          expect(JSON.stringify([events, refreshes])).toContain('src/three.ts#f')
        })
      }
    expect(skipped).toBeGreaterThan(100)
  })

  it('is shown without it by every command, which says so', async () => {
    const w = await stored()
    w.damage(w.text.replace('{', '\u0001'))
    const asked = await runCli(['diagnose', '--state', w.folder]).ended
    expect(asked.stderr).toBe('')
    expect(asked.stdout.replaceAll(/\s+/g, ' ')).toContain('Left out as damaged: 1 recorded row.')
    const json = JSON.parse((await runCli(['diagnose', '--state', w.folder, '--json']).ended).stdout) as Diagnosis
    expect(json.checked).toMatchObject({ events: 2, unreadable: 1 })
    const listed = await runCli(['refreshes', '--state', w.folder]).ended
    expect(listed.stderr).toBe('')
    expect(listed.stdout).toContain('src/three.ts#f')
    expect(listed.stdout).toContain('1 recorded row is damaged and left out')
    expect((await runCli(['status', '--state', w.folder]).ended).code).toBe(0)
  })

  it('is not shown a row whose time is none', async () => {
    const w = await stored()
    const database = new DatabaseSync(`${w.folder}/events.sqlite`)
    database.exec('UPDATE event SET start_ms = 9e20 WHERE id = 2')
    database.close()
    readEvents(w.folder, store => expect([...new EventReader(store).events()]).toHaveLength(2))
  })
})
