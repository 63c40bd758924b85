import type { FlameNode, PlacedFrame } from 'd3-flame-graph'
import type { StackNode } from '../api-types.ts'
import { element } from './element.ts'
import { count, percentage } from './format.ts'
import { onKey } from './table.ts'

interface IcicleOptions {
  readonly root: StackNode
  readonly by: 'count' | 'failures'
  /** `file:line` of the frame that is looked at. */
  readonly frame: string
  readonly onFrame: (frame: string) => void
}

interface Frame extends FlameNode {
  readonly node: StackNode
  readonly children: Frame[]
}

const CELL_PIXELS = 22

/** The last one drawn, kept while what it shows stays the same: a live page must not throw away where one has zoomed to. */
let drawnLast: { readonly of: string; readonly holder: HTMLElement } | undefined

/** An icicle of call stacks: the outermost frame on top, its width its frequency. */
export function icicle(options: IcicleOptions): HTMLElement {
  const of = JSON.stringify([
    options.root,
    options.by,
    options.frame,
    document.documentElement.clientWidth,
    document.documentElement.dataset.theme,
  ])
  if (drawnLast?.of === of) return drawnLast.holder
  const holder = element('div', { class: 'icicle', role: 'tree', 'aria-label': 'Call stacks that trigger refresh, outermost frame first' })
  // Where frames stood stays taken until the new ones are there.
  holder.style.minHeight = `${depthOf(options.root) * CELL_PIXELS}px`
  drawnLast = { of, holder }
  void draw(holder, options)
  return holder
}

async function draw(holder: HTMLElement, { root, by, frame, onFrame }: IcicleOptions): Promise<void> {
  const [{ default: flamegraph }, { select }] = await Promise.all([import('d3-flame-graph'), import('d3-selection')])
  const total = by === 'failures' ? root.failures : root.count
  const weightOf = (node: StackNode) => (by === 'failures' ? node.failures : node.count)
  const labelOf = ({ name, file, line, count: all, failures }: StackNode) =>
    `${name}${file === '' ? '' : ` (${file}:${line})`}: ${count(all)} of ${count(root.count)} refreshes (${percentage(all, root.count)}), ${count(failures)} failed`
  let isReady = false
  const graph = flamegraph()
    .width(Math.max(280, holder.clientWidth))
    .height(depthOf(root) * CELL_PIXELS)
    .cellHeight(CELL_PIXELS)
    .inverted(true)
    // A live page draws again whenever something changes: frames that grow in each time would never come to rest.
    .transitionDuration(0)
    .minFrameSize(1)
    .setColorMapper(({ data }) => colorOf((data as Frame).node))
    .setLabelHandler(({ data }) => labelOf((data as Frame).node))
    .onClick(({ data }) => {
      if (!isReady) return
      decorate(holder, frame, labelOf)
      onFrame(placeOf((data as Frame).node))
    })
  const toFrame = (node: StackNode): Frame => ({
    name: shortName(node),
    value: weightOf(node),
    node,
    children: node.children.filter(weightOf).map(toFrame),
  })
  if (total === 0) return
  select(holder).datum(toFrame(root)).call(graph)
  const looked = frame === '' ? undefined : framesIn(holder).find(([, { data }]) => placeOf((data as Frame).node) === frame)
  if (looked) graph.zoomTo(looked[1])
  decorate(holder, frame, labelOf)
  isReady = true
}

/** Gives each frame what the keyboard and screen readers need; the library sets classes again with each update. */
function decorate(holder: HTMLElement, frame: string, labelOf: (node: StackNode) => string): void {
  for (const [group, { data, parent }] of framesIn(holder)) {
    const { node } = data as Frame
    if (!group.hasAttribute('role'))
      group.addEventListener('keydown', event => onKey(event, () => group.dispatchEvent(new MouseEvent('click', { bubbles: true }))))
    group.setAttribute('role', 'treeitem')
    group.setAttribute('data-key', `frame:${node.name}:${placeOf(node)}`)
    group.setAttribute('tabindex', parent ? '-1' : '0')
    group.setAttribute('aria-label', labelOf(node))
    group.setAttribute('aria-selected', String(placeOf(node) === frame))
    group.classList.toggle('own', node.application)
  }
}

function framesIn(holder: HTMLElement): [SVGGElement, PlacedFrame][] {
  return [...holder.querySelectorAll<SVGGElement & { __data__?: PlacedFrame }>('g.frame')].flatMap(group =>
    group.__data__ ? [[group, group.__data__] as [SVGGElement, PlacedFrame]] : [],
  )
}

/** As the address names a frame. */
function placeOf({ file, line }: StackNode): string {
  return file === '' ? '' : `${file}:${line}`
}

/** The application's frames have colour, the redder the more of them fail; libraries stay grey. */
function colorOf({ application, file, count: all, failures }: StackNode): string {
  if (file === '' || !application) return 'var(--frame-library)'
  const failing = all === 0 ? 0 : failures / all
  return `color-mix(in oklab, var(--frame-own), var(--frame-failed) ${Math.round(failing * 100)}%)`
}

/** Names alone say little where many functions have none. */
function shortName({ name, file, line }: StackNode): string {
  return file === '' ? name : `${name}  ${file.split('/').at(-1)}:${line}`
}

function depthOf({ children }: StackNode): number {
  return 1 + Math.max(0, ...children.map(depthOf))
}
