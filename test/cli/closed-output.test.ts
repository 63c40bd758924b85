// `gatewatch diagnose | head` ended with the stack of an unhandled EPIPE (issue "1 of 6").
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { fileStore } from '../../src/store/file-store.ts'
import { stateFolder } from '../support/clean-up.ts'
import { type Running, runCli } from './run-cli.ts'

const running: Running[] = []

afterEach(() => {
  for (const { child } of running.splice(0)) child.kill('SIGKILL')
})

/** Runs a command whose stdout has no reader. */
function runUnread(...parameters: string[]): Running {
  const command = runCli(parameters)
  running.push(command)
  command.child.stdout?.destroy()
  return command
}

describe('a command whose reader is gone', () => {
  it('ends with its own exit code and says nothing', async () => {
    const command = runUnread('profiles', 'order', '--state', await emptyState())
    expect(await once(command.child, 'exit')).toEqual([0, null])
    expect((await command.ended).stderr).toBe('')
  })

  it('ends in order where it waits for a signal', async () => {
    const command = runUnread('demo', '--port', '0')
    expect(await once(command.child, 'exit')).toEqual([0, null])
    expect((await command.ended).stderr).not.toMatch(/EPIPE|\n\s+at /)
  })
})

async function emptyState(): Promise<string> {
  const folder = stateFolder()
  const store = fileStore(folder)
  await store.change('openai:key', () => ({ id: 'openai:key', provider: 'openai', credential: { type: 'api_key', key: 'k-0123456789' } }))
  await store.close()
  return folder
}
