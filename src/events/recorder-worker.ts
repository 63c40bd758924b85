/** Writes the spans of a process into the recorder's file, in a thread of its own: SQLite waits, and so would the host. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { GatewayError } from '../domain/gateway-error.ts'
import { processRow } from './process-row.ts'
import { recorderFailure } from './recorder-failure.ts'
import type { Batch, BatchAnswer, BatchFailure, RecorderThreadData } from './recorder-thread.ts'
import { type WrittenSpan, writtenSpanOrNothing } from './span-columns.ts'
import { SpanWriter } from './span-writer.ts'
import { pauseAfter } from './write-pause.ts'
import { WriteTurn } from './write-turn.ts'

/** Longest time the main thread keeps the turn; it does so only when the process exits. */
const LONGEST_TURN_MS = 60_000

/** What the thread writes with. */
interface Writing {
  readonly turn: WriteTurn
  readonly writer: SpanWriter
}

if (parentPort) serve(parentPort, workerData as RecorderThreadData)

function serve(port: MessagePort, { shared, folder, self, bounds }: RecorderThreadData): void {
  const writing = { turn: new WriteTurn(shared), writer: new SpanWriter(folder, () => processRow(self), bounds) }
  port.on('message', (message: Batch | 'end') => {
    if (message === 'end') {
      writing.writer.close()
      port.close()
    } else void write(writing, message).then(answer => port.postMessage(answer))
  })
}

async function write(writing: Writing, { number, rows, dropped }: Batch): Promise<BatchAnswer> {
  const spans = rows.map(writtenSpanOrNothing)
  const whole = spans.filter(span => span !== undefined)
  for (let tries = 0; ; tries += 1) {
    const end = tryWrite(writing, number, whole, dropped)
    if (end === 'written') return { number, unwritable: spans.length - whole.length }
    if (end !== 'busy') return { number, failure: end }
    await sleep(pauseAfter(tries))
  }
}

/** @returns `busy` when another process, or the main thread, is writing just now. */
function tryWrite(
  { turn, writer }: Writing,
  number: number,
  spans: readonly WrittenSpan[],
  dropped: number,
): 'written' | 'busy' | BatchFailure {
  if (!turn.take(LONGEST_TURN_MS)) return 'busy'
  try {
    // The main thread has written it, because the process exits.
    if (turn.settled >= number) return 'written'
    if (!writer.tryWrite(spans, dropped)) return 'busy'
    turn.settle(number)
    return 'written'
  } catch (cause) {
    const { code, message, next, cause: why } = cause instanceof GatewayError ? cause : recorderFailure(writer.path, cause)
    return { code, message, next, why: why instanceof Error ? why.message : undefined }
  } finally {
    turn.release()
  }
}
