/**
 * A host that embeds OpenClaw and has several turns in one process, as its gateway has.
 *
 * Parameters: OpenClaw's `plugin-sdk/agent-runtime`, how many turns, the time between them in ms.
 */
import { setTimeout as sleep } from 'node:timers/promises'

const [runtime, turns, pauseMs] = process.argv.slice(2)
const { agentCommand } = await import(runtime)

for (let turn = 1; turn <= Number(turns); turn += 1) {
  if (turn > 1) await sleep(Number(pauseMs))
  await agentCommand({ message: `turn ${turn}`, sessionId: 's1' })
}
process.exit(0)
