import type uPlot from 'uplot'

/** A frame of the flame graph. */
export interface FlameNode {
  readonly name: string
  readonly value: number
  readonly children: FlameNode[]
}

export interface PlacedFrame {
  readonly data: FlameNode
  readonly x0: number
  readonly x1: number
  readonly parent: PlacedFrame | null
}

/** As much of d3-flame-graph as is used. */
interface FlameGraph {
  (selection: unknown): void
  width(pixels: number): FlameGraph
  height(pixels: number): FlameGraph
  cellHeight(pixels: number): FlameGraph
  inverted(on: boolean): FlameGraph
  transitionDuration(ms: number): FlameGraph
  minFrameSize(pixels: number): FlameGraph
  setColorMapper(colorOf: (frame: PlacedFrame, original: string) => string): FlameGraph
  setLabelHandler(labelOf: (frame: PlacedFrame) => string): FlameGraph
  onClick(clicked: (frame: PlacedFrame) => void): FlameGraph
  zoomTo(frame: PlacedFrame): void
}

interface SankeyNode {
  readonly id: string
  readonly x0?: number
  readonly x1?: number
  readonly y0?: number
  readonly y1?: number
  readonly value?: number
}

interface SankeyLink {
  readonly width?: number
  readonly y0?: number
  readonly y1?: number
}

interface Sankey {
  nodeId(idOf: (node: SankeyNode) => string): Sankey
  nodeWidth(pixels: number): Sankey
  nodePadding(pixels: number): Sankey
  nodeAlign(align: (node: SankeyNode & { depth: number }, levels: number) => number): Sankey
  extent(corners: readonly [readonly [number, number], readonly [number, number]]): Sankey
  <N extends object, L extends object>(graph: {
    nodes: N[]
    links: L[]
  }): {
    nodes: (N & Required<SankeyNode>)[]
    links: (Omit<L, 'source' | 'target'> & Required<SankeyLink> & { source: N & Required<SankeyNode>; target: N & Required<SankeyNode> })[]
  }
}

interface D3 {
  select(element: Element): { datum(data: unknown): { call(chart: FlameGraph): void } }
  sankey(): Sankey
}

interface Loaded {
  d3: D3
  flamegraph: () => FlameGraph
  uPlot: typeof uPlot
}

const loading = new Map<string, Promise<unknown>>()

/** d3 with the flame graph and the Sankey layout, fetched when a view first needs it. */
export async function loadD3(): Promise<Pick<Loaded, 'd3' | 'flamegraph'>> {
  await load('d3.js')
  return globalThis as unknown as Loaded
}

/** uPlot with its style. */
export async function loadPlot(): Promise<typeof uPlot> {
  await Promise.all([load('uplot.js'), load('uplot.css')])
  return (globalThis as unknown as Loaded).uPlot
}

function load(name: string): Promise<unknown> {
  const known = loading.get(name)
  if (known) return known
  const begun = new Promise((resolve, reject) => {
    const url = new URL(name, import.meta.url).href
    const part = name.endsWith('.css')
      ? Object.assign(document.createElement('link'), { rel: 'stylesheet', href: url })
      : Object.assign(document.createElement('script'), { src: url })
    part.addEventListener('load', resolve)
    part.addEventListener('error', () => reject(new Error(`${name} could not be loaded`)))
    document.head.append(part)
  })
  loading.set(name, begun)
  begun.catch(() => loading.delete(name))
  return begun
}
