import type { WayRow } from '../api-types.ts'
import { drawn, element } from './element.ts'
import { count, percentage, plain } from './format.ts'

interface SankeyOptions {
  readonly ways: readonly WayRow[]
  readonly calls: number
  readonly onProfile: (profile: string) => void
}

interface Node {
  readonly id: string
  readonly label: string
  /** Which place of the way; the ends stand last. */
  readonly level: number
  readonly kind: 'profile' | 'end'
}

interface Link {
  readonly source: string
  readonly target: string
  readonly reason: string
  readonly value: number
}

const NODE_WIDTH = 10
const LABEL_PIXELS = 150
const ROW_PIXELS = 54

let drawnLast: { readonly of: string; readonly holder: HTMLElement } | undefined

/** How calls flowed from the preferred profile to the one that served, and how that one pays. */
export function sankey(options: SankeyOptions): HTMLElement {
  const of = JSON.stringify([options.ways.map(({ steps, end, count: value }) => [steps, end, value]), document.documentElement.clientWidth])
  if (drawnLast?.of === of) return drawnLast.holder
  const holder = element('div', { class: 'sankey' })
  drawnLast = { of, holder }
  void draw(holder, options)
  return holder
}

async function draw(holder: HTMLElement, { ways, calls, onProfile }: SankeyOptions): Promise<void> {
  const { sankey } = await import('d3-sankey')
  const { nodes, links } = graphOf(ways)
  const width = Math.max(560, holder.clientWidth)
  const perLevel = Math.max(...[...Map.groupBy(nodes, ({ level }) => level).values()].map(({ length }) => length))
  const height = Math.max(180, perLevel * ROW_PIXELS)
  const last = Math.max(...nodes.map(({ level }) => level))
  const placed = sankey()
    .nodeId(node => node.id)
    .nodeWidth(NODE_WIDTH)
    .nodePadding(22)
    .nodeAlign(node => (node as unknown as Node).level)
    .extent([
      [4, 14],
      [width - LABEL_PIXELS, height - 10],
    ])({ nodes, links })
  const flows = placed.links.map(({ source, target, reason, value, width: thick, y0, y1 }) => {
    const middle = (source.x1 + target.x0) / 2
    const text = `${source.label} to ${target.label}${reason === '' ? '' : `, ${plain(reason)}`}: ${count(value)} calls (${percentage(value, calls)})`
    return drawn(
      'path',
      {
        class: `flow ${reason === '' ? (target.label === 'failed' ? 'bad' : 'direct') : 'fallback'}`,
        d: `M${source.x1},${y0}C${middle},${y0} ${middle},${y1} ${target.x0},${y1}`,
        'stroke-width': Math.max(1, thick),
        'aria-label': text,
      },
      drawn('title', {}, text),
    )
  })
  const reasons = placed.links
    .filter(({ reason, width: thick }) => reason !== '' && thick >= 11)
    .map(({ source, target, reason, y0, y1, value }) =>
      drawn(
        'text',
        { class: 'flow-label', x: (source.x1 + target.x0) / 2, y: (y0 + y1) / 2 + 4, 'text-anchor': 'middle' },
        `${plain(reason)} ${count(value)}`,
      ),
    )
  const bars = placed.nodes.map(node => {
    const label = `${node.kind === 'end' ? endText(node.label) : node.label}`
    const filter = node.kind === 'profile' ? () => onProfile(node.label) : undefined
    return drawn(
      'g',
      {
        class: `sankey-node ${node.kind} ${node.label.replace(/\W+/g, '-')}`,
        ...(filter && { tabindex: 0, role: 'button', 'data-key': `node:${node.id}`, 'aria-label': `only calls over ${label}` }),
        on: filter ? { click: filter, keydown: event => ['Enter', ' '].includes((event as KeyboardEvent).key) && filter() } : {},
      },
      drawn('rect', { x: node.x0, y: node.y0, width: NODE_WIDTH, height: Math.max(1, node.y1 - node.y0) }),
      drawn('text', { x: node.x1 + 6, y: (node.y0 + node.y1) / 2 - 1 }, label),
      drawn('text', { class: 'small', x: node.x1 + 6, y: (node.y0 + node.y1) / 2 + 13 }, `${count(node.value)} calls`),
    )
  })
  holder.append(
    drawn(
      'svg',
      {
        width,
        height,
        viewBox: `0 0 ${width} ${height}`,
        role: 'group',
        'aria-label': `flow of ${count(calls)} calls over ${last} places`,
      },
      ...flows,
      ...bars,
      ...reasons,
    ),
  )
}

/** Place n of a way leads to place n + 1, so that the graph has no circle even when calls come back to a profile. */
function graphOf(ways: readonly WayRow[]): { nodes: Node[]; links: Link[] } {
  const nodes = new Map<string, Node>()
  const links = new Map<string, Link>()
  const last = Math.max(...ways.map(({ steps }) => steps.length))
  const node = (kind: Node['kind'], level: number, label: string): string => {
    const id = `${level} ${label}`
    nodes.set(id, { id, kind, level, label })
    return id
  }
  const link = (source: string, target: string, reason: string, value: number): void => {
    const key = JSON.stringify([source, target, reason])
    links.set(key, { source, target, reason, value: value + (links.get(key)?.value ?? 0) })
  }
  for (const { steps, end, count: value } of ways) {
    for (const [index, { profile, reason }] of steps.entries()) {
      const before = steps[index - 1]
      const here = node('profile', index, profile)
      if (before) link(node('profile', index - 1, before.profile), here, reason, value)
      if (index === steps.length - 1) link(here, node('end', last, end), '', value)
    }
  }
  return { nodes: [...nodes.values()], links: [...links.values()] }
}

function endText(end: string): string {
  if (end === 'aborted') return 'given up by the caller'
  return end === 'failed' ? 'not served' : `served, ${plain(end)}`
}
