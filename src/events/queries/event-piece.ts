import type { DatabaseSync } from 'node:sqlite'
import { type EventPiece, type EventPieceRange, EventReader } from '../event-reader.ts'

/** Some events of a range, and where to go on: `EventStore.events` asks for one piece after the other. */
export function eventPiece(database: DatabaseSync, range: EventPieceRange): EventPiece {
  return new EventReader(database, range).piece(range)
}
