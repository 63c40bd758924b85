/** As much of d3 as the page uses; its packages bring no types. */

declare module 'd3-flame-graph' {
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
  export interface FlameGraph {
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

  export default function flamegraph(): FlameGraph
}

declare module 'd3-selection' {
  export function select(element: Element): { datum(data: unknown): { call(chart: (selection: unknown) => void): void } }
}

declare module 'd3-sankey' {
  export interface SankeyNode {
    readonly id: string
    readonly x0?: number
    readonly x1?: number
    readonly y0?: number
    readonly y1?: number
    readonly value?: number
  }

  export interface SankeyLink {
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
      links: (Omit<L, 'source' | 'target'> &
        Required<SankeyLink> & { source: N & Required<SankeyNode>; target: N & Required<SankeyNode> })[]
    }
  }

  export function sankey(): Sankey
}
