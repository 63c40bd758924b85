/**
 * `node test/simulator/scenarios/quiet-hour.ts STATE`: an hour of healthy traffic through the real machinery, on a clock that is set
 * forward from minute to minute; prints what `diagnose` says, as JSON. A process of its own: the clock is everybody's.
 */
import { diagnose } from '../../../src/diagnose/diagnose.ts'
import { evidenceIn } from '../../../src/diagnose/evidence-source.ts'
import { ScenarioHarness } from '../../../src/simulator/scenarios/harness.ts'
import type { ScenarioStep } from '../../../src/simulator/scenarios/scenario.ts'

const MINUTES = 60
/** Tokens that live ten minutes: an hour holds seven or so rotations. */
const LIFE_MS = 600_000

let aheadMs = 0
const { now } = Date
const monotonic = performance.now.bind(performance)
Date.now = () => now() + aheadMs
performance.now = () => monotonic() + aheadMs

const MINUTE: readonly ScenarioStep[] = [
  { do: 'call' },
  {
    do: 'together',
    steps: [
      { do: 'call', by: 'conversation_label', model: 'gpt-5.5-mini' },
      { do: 'call', by: 'chat_page' },
      { do: 'call', stream: true },
    ],
  },
  { do: 'call', provider: 'openai', protocol: 'chat_completions' },
]
/** The timer that keeps the token warm, and the probe, every five minutes. */
const FIVE_MINUTES: readonly ScenarioStep[] = [{ do: 'acquire', by: 'token_warmer', reason: 'scheduled' }, { do: 'probe' }]

const [state = ''] = process.argv.slice(2)
const harness = await ScenarioHarness.set({ logins: [{ accessLifeMs: LIFE_MS }], paidKey: true }, state)
// The provider's clock is ours, so its Date header must be as well.
await harness.play({ do: 'fault', fault: { where: 'all', dateSkewMs: 0 } })
for (let minute = 0; minute < MINUTES; minute += 1) {
  for (const step of [...MINUTE, ...(minute % 5 === 0 ? FIVE_MINUTES : [])]) await harness.play(step)
  aheadMs += 60_000
}
await harness.end()
process.stdout.write(`${JSON.stringify(diagnose(evidenceIn(state)))}\n`)
