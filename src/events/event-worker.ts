/** Writes and reads the event store of a process in a thread of its own: SQLite waits, and so would the host. */
import type { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { isGatewayError } from '../domain/gateway-error.ts'
import { unreadable } from '../store/store-failure.ts'
import {
  type BatchMessage,
  type BatchReply,
  type EventThreadData,
  failureMessage,
  type QueryMessage,
  type QueryReply,
} from './event-thread.ts'
import { EventWriter, type WrittenBatch, writtenBatch } from './event-writer.ts'
import { processRow } from './process-row.ts'
import { answerQuery, jsonBytes } from './queries/queries.ts'
import { queryEventStore } from './read-events.ts'
import { pauseAfter } from './write-pause.ts'
import { WriteTurn } from './write-turn.ts'

/** Longest time the main thread keeps the turn; it does so only when the process exits. */
const LONGEST_TURN_MS = 60_000

/** What the thread works with. */
interface Working {
  readonly turn: WriteTurn
  readonly writer: EventWriter
  readonly folder: string | undefined
}

if (parentPort) serve(parentPort, workerData as EventThreadData)

function serve(port: MessagePort, { shared, folder, self, bounds }: EventThreadData): void {
  const working = { turn: new WriteTurn(shared), folder, writer: new EventWriter({ folder, self: () => processRow(self), bounds }) }
  let hasPruned = false
  port.on('message', (message: BatchMessage | QueryMessage | 'end') => {
    if (message === 'end') {
      working.writer.close()
      port.close()
    } else if (message.type === 'query') {
      const reply = answer(working, message)
      port.postMessage(reply, reply.value instanceof Uint8Array ? [reply.value.buffer as ArrayBuffer] : [])
    } else {
      void write(working, message).then(reply => {
        port.postMessage(reply)
        if (hasPruned || reply.failure) return
        hasPruned = true
        prune(working)
      })
    }
  })
}

async function write(working: Working, { number, items, dropped, exports }: BatchMessage): Promise<BatchReply> {
  const batch = writtenBatch(items, { dropped, exports })
  for (let tries = 0; ; tries += 1) {
    const end = tryWrite(working, number, batch)
    if (end !== 'busy') return { type: 'batch', number, unwritable: batch.unwritable, ...end, ...besideOf(working) }
    await sleep(pauseAfter(tries))
  }
}

/** @returns `busy` when another process, or the main thread, is writing just now. */
function tryWrite({ turn, writer }: Working, number: number, batch: WrittenBatch): 'busy' | Pick<BatchReply, 'failure'> {
  if (!turn.take(LONGEST_TURN_MS)) return 'busy'
  try {
    // The main thread has written it, because the process exits.
    if (turn.settled >= number) return {}
    if (!writer.tryWrite(batch)) return 'busy'
    turn.settle(number)
    return {}
  } catch (cause) {
    return { failure: failureMessage(writer.path, cause) }
  } finally {
    turn.release()
  }
}

/** The process that starts clears away what others left. What fails here fails with the next batch, and is reported then. */
function prune({ turn, writer }: Working): void {
  if (!turn.take(LONGEST_TURN_MS)) return
  try {
    writer.tryPrune()
  } catch {
    // See above.
  } finally {
    turn.release()
  }
}

function besideOf({ writer }: Working): Pick<BatchReply, 'besideNewer'> {
  return writer.besideNewer ? { besideNewer: failureMessage(writer.path, writer.besideNewer) } : {}
}

function answer({ writer, folder }: Working, { number, name, args, form }: QueryMessage): QueryReply {
  try {
    const query = (database: DatabaseSync) => answerQuery(database, name, args)
    const value = folder === undefined ? query(writer.memory as DatabaseSync) : queryEventStore(folder, query)
    return { type: 'answer', number, value: form === 'json' ? jsonBytes(value) : value }
  } catch (cause) {
    return { type: 'answer', number, failure: failureMessage(writer.path, isGatewayError(cause) ? cause : unreadable(writer.path, cause)) }
  }
}
