import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import { ATTR_CODE_STACK } from '../../otel/semconv.ts'
import type { Diagnosis } from '../../src/diagnose/diagnose.ts'
import { diagnose } from '../../src/diagnose/diagnose.ts'
import { evidenceIn } from '../../src/diagnose/evidence-source.ts'
import { readRecords } from '../../src/events/disk-records.ts'
import { bypasses, refreshes, trace } from '../../src/events/queries.ts'
import { runCli } from '../cli/run-cli.ts'
import { afterwards } from '../support/clean-up.ts'
import { diskWorld } from './world.ts'

/** A recorder with three refreshes, closed. */
async function recorded() {
  const w = diskWorld()
  for (const name of ['one', 'two', 'three'])
    w.refresh({ caller: `src/${name}.ts#f`, attributes: { [ATTR_CODE_STACK]: `f (src/${name}.ts:1:1)` } })
  await w.recorder.shutdown()
  const database = new DatabaseSync(w.recorder.path)
  afterwards(() => database.close())
  const text = String(database.prepare('SELECT row FROM interesting WHERE id = 2').get()?.row)
  return { folder: w.folder, text, damage: (row: string) => database.prepare('UPDATE interesting SET row = ? WHERE id = 2').run(row) }
}

// Seen: one bad byte in a row ended diagnose with a stack trace and emptied the page.
// Why: every reader parsed rows on its own and trusted what came.
// The fix: one reader that checks a row; a damaged one is skipped, counted and reported. Issue 1, D5.
describe('a recorder with a damaged row', () => {
  it('is shown without it by every command, which says so', async () => {
    const w = await recorded()
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

  it('is read, whichever byte of the row is bad', async () => {
    const w = await recorded()
    const traceId = /"traceId":"([0-9a-f]+)"/.exec(w.text)?.[1] ?? ''
    let skipped = 0
    for (let at = 0; at < w.text.length; at += 3)
      for (const byte of ['x', '9', 'e', '\u0001']) {
        w.damage(w.text.slice(0, at) + byte + w.text.slice(at + 1))
        readRecords(w.folder, records => {
          expect(refreshes(records).length).toBeGreaterThanOrEqual(2)
          expect(bypasses(records)).toEqual([])
          trace(records, traceId)
        })
        const { checked } = diagnose(evidenceIn(w.folder))
        expect(checked.events + checked.unreadable).toBe(3)
        skipped += checked.unreadable
      }
    expect(skipped).toBeGreaterThan(100)
  })
})
