import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PACKAGE_FOLDER } from '../tools/own-package.ts'

const STYLE =
  'body{font:16px/1.5 system-ui;max-width:50rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}h2{margin-top:3rem}p{white-space:pre-line}'

/**
 * The runbook that comes with the package as a page whose headings are anchors, so that an alert's link leads to its
 * section. Just enough of Markdown for that one file: headings, paragraphs, bold, links within the page.
 *
 * @throws what reading the file throws.
 */
export async function runbookPage(): Promise<string> {
  const path = join(PACKAGE_FOLDER ?? '', 'dashboards', 'runbook.md')
  const blocks = (await readFile(path, 'utf8')).split(/\n{2,}/).map(toHtml)
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Gatewatch runbook</title><style>${STYLE}</style>${blocks.join('\n')}</html>\n`
}

function toHtml(block: string): string {
  const heading = /^(#{1,3}) (.+)$/.exec(block.trim())
  if (heading) {
    const [, marks = '', title = ''] = heading
    return `<h${marks.length} id="${escaped(title.toLowerCase().replace(/\s+/g, '-'))}">${escaped(title)}</h${marks.length}>`
  }
  const text = escaped(block)
    .replace(/\*\*([^*]+)\*\*/g, '<b>$1</b>')
    .replace(/\*([^*]+)\*/g, '<i>$1</i>')
    .replace(/`([^`]+)`/g, '<code>$1</code>')
    .replace(/\[([^\]]+)\]\((#[\w-]+)\)/g, '<a href="$2">$1</a>')
  return `<p>${text}</p>`
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, character => `&#${character.charCodeAt(0)};`)
}
