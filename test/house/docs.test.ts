import { existsSync, globSync, readFileSync } from 'node:fs'
import { join, posix, sep } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT } from './source-files.ts'

const MOST_README_LINES = 150

describe('the documentation', () => {
  const pages = globSync(['*.md', 'docs/**/*.md', 'dashboards/*.md'], { cwd: ROOT }).map(path => path.replaceAll(sep, '/'))

  it('begins with a README that is read in one go', () => {
    expect(linesOf('README.md')).toBeLessThanOrEqual(MOST_README_LINES)
  })

  it('can be reached from the README, page by page', () => {
    const reached = new Set(['README.md'])
    for (const page of reached) for (const { path } of linksOf(page)) if (pages.includes(path)) reached.add(path)
    expect(pages.filter(page => !reached.has(page))).toEqual([])
  })

  it.each(pages)('has no dead link in %s', page => {
    const dead = linksOf(page).filter(({ path, anchor }) => !existsSync(join(ROOT, path)) || (anchor && !anchorsOf(path).has(anchor)))
    expect(dead).toEqual([])
  })

  it.each(pages)('names only files that exist in %s', page => {
    const paths = read(page).match(/(?<=`)(?:src|otel|test|bench|dashboards|docs)\/[\w./-]+\.(?:ts|md|mjs|json|ya?ml)(?=`)/g) ?? []
    expect(paths.filter(path => !existsSync(join(ROOT, path)))).toEqual([])
  })

  it.each(pages)('names only scripts of package.json in %s', page => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const named = [...read(page).matchAll(/npm run ([\w:]+)/g)].map(([, name = '']) => name)
    expect(named.filter(name => !(name in scripts))).toEqual([])
  })
})

interface Link {
  readonly path: string
  readonly anchor?: string
}

/** The links of a page within the repository, from its root. */
function linksOf(page: string): Link[] {
  const targets = [...read(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target)
  return targets
    .filter(target => !/^https?:/.test(target))
    .map(target => {
      const [file = '', anchor] = target.split('#')
      return { path: file === '' ? page : posix.join(posix.dirname(page), file), ...(anchor !== undefined && { anchor }) }
    })
}

/** The anchors of the headings of a page, as GitHub makes them. */
function anchorsOf(page: string): ReadonlySet<string> {
  const headings = read(page).match(/^#{1,6} .*$/gm) ?? []
  return new Set(headings.map(anchorOf))
}

function anchorOf(heading: string): string {
  const text = heading.replace(/^#+ /, '').toLowerCase()
  return text.replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-')
}

function linesOf(page: string): number {
  return read(page).trimEnd().split('\n').length
}

function read(page: string): string {
  return readFileSync(join(ROOT, page), 'utf8')
}
