import { buildBoard } from './board.ts'
import { BOARDS } from './boards.ts'
import { BOARD_UIDS } from './links.ts'
import { RULES_FILE, writeRules } from './rules.ts'

/** Every generated file by its name in `generated/`. The same input gives the same bytes. */
export function generatedFiles(): ReadonlyMap<string, string> {
  const boards = BOARDS.map(board => [`${BOARD_UIDS[board.key]}.json`, `${JSON.stringify(buildBoard(board), null, 2)}\n`] as const)
  return new Map([...boards, [RULES_FILE, writeRules()]])
}
