import { writeSync } from 'node:fs'
import { attributesOfEvent } from '../../src/telemetry/event-span.ts'
import { ProcessWatch } from '../../src/watch/process-watch.ts'
import { readWatchSettings } from '../../src/watch/watch-settings.ts'

/** The watch as the preload of the package starts it; what it sees goes to the parent process and not to a recorder. */
new ProcessWatch({
  settings: readWatchSettings(process.env),
  sink: {
    expect: () => undefined,
    wantsAll: true,
    take: ({ event }) => void process.send?.({ type: 'seen', attributes: attributesOfEvent(event) }),
  },
  onFault: fault => void writeSync(2, `fault: ${fault instanceof Error ? fault.stack : String(fault)}\n`),
  onNotice: line => void writeSync(2, `notice: ${line}\n`),
}).start()
