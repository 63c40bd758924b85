import { ALERTS } from './alerts.ts'
import type { Board } from './board.ts'
import { BOARDS } from './boards.ts'
import { BOARD_UIDS } from './links.ts'

/** Everything between these two lines of README.md is written from the boards. */
const README_BEGIN = '<!-- boards: written by npm run dashboards -->'
const README_END = '<!-- end of boards -->'

/** README.md with its part about boards and alerts written again. @throws {RangeError} when it has no such part. */
export function withBoards(readme: string): string {
  const begin = readme.indexOf(README_BEGIN)
  const end = readme.indexOf(README_END)
  if (begin < 0 || end < begin) throw new RangeError(`README.md lacks the lines ${README_BEGIN} and ${README_END}`)
  return `${readme.slice(0, begin + README_BEGIN.length)}\n\n${BOARDS.map(describeBoard).join('\n\n')}\n\n${describeAlerts()}\n\n${readme.slice(end)}`
}

function describeBoard(board: Board): string {
  const questions = board.rows.flatMap(({ title, panels }) => [
    ...(title === undefined ? [] : [`\n*${title}*\n`]),
    ...panels.map(({ panel }) => `- **${panel.title}**: ${panel.question}`),
  ])
  return `### ${board.title}\n\n${board.question} (\`${BOARD_UIDS[board.key]}\`)\n\n${questions.join('\n')}`
}

function describeAlerts(): string {
  const rows = ALERTS.map(({ name, labels, severity, summary }) => {
    const windows = labels ? ` (${Object.values(labels).join(' / ')})` : ''
    return `| [${name}](runbook.md#${name.toLowerCase()})${windows} | ${severity} | ${summary} |`
  })
  return `### Alerts\n\n| alert | severity | what is wrong |\n|---|---|---|\n${rows.join('\n')}`
}
