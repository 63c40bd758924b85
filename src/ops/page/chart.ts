import type uPlot from 'uplot'
import { element } from './element.ts'

/** One curve. */
export interface Curve {
  readonly label: string
  readonly values: readonly (number | null)[]
  /** Name of a colour of the page's style. */
  readonly color: string
  readonly isBars?: boolean
}

interface ChartOptions {
  /** What distinguishes this chart from others of the page. */
  readonly name: string
  readonly atMs: readonly number[]
  readonly curves: readonly Curve[]
  readonly textOf: (value: number) => string
  /** Values are counts: no ticks between whole numbers. */
  readonly isCount?: boolean
  /** Reports a range that was chosen by dragging over the chart. */
  readonly onRange: (fromMs: number, toMs: number) => void
}

interface Kept {
  readonly holder: HTMLElement
  readonly of: string
  plot?: uPlot
}

const HEIGHT = 190
const SHORT_POINTS = 3
const FEW_POINTS = 40
const DAY_SECONDS = 86_400
const WHOLE_STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 1_000_000]
/** Charts stay while their view is renewed: new values go into the one there is. */
const kept = new Map<string, Kept>()

/** A chart over time. Dragging chooses a range; the values under the pointer stand in the legend. */
export function chart(options: ChartOptions): HTMLElement {
  const of = `${options.curves.map(({ label }) => label).join('|')} ${document.documentElement.clientWidth} ${document.documentElement.dataset.theme}`
  const known = kept.get(options.name)
  if (known?.of === of) {
    known.plot?.setData(dataOf(options))
    return known.holder
  }
  known?.plot?.destroy()
  const peak = Math.max(0, ...options.curves.flatMap(({ values }) => values.filter(value => value !== null)))
  const holder = element('div', {
    class: 'chart',
    role: 'img',
    'aria-label': `${options.curves.map(({ label }) => label).join(', ')} over time, at most ${options.textOf(peak)}`,
  })
  const made: Kept = { holder, of }
  kept.set(options.name, made)
  void import('uplot').then(({ default: Plot }) => {
    if (kept.get(options.name) === made) made.plot = new Plot(plotOptions(Plot, options, holder), dataOf(options), holder)
  })
  return holder
}

function dataOf({ atMs, curves, isCount }: ChartOptions): uPlot.AlignedData {
  // The step that is not over yet has counted only a part of what it will: a dip that is none.
  const shown = isCount && atMs.length > SHORT_POINTS ? atMs.slice(0, -1) : atMs
  return [shown.map(ms => ms / 1_000), ...curves.map(({ values }) => values.slice(0, shown.length))]
}

function plotOptions(Plot: typeof uPlot, { curves, textOf, isCount, onRange }: ChartOptions, holder: HTMLElement): uPlot.Options {
  const style = getComputedStyle(document.documentElement)
  const colorOf = (name: string) => canvasColor(style.getPropertyValue(`--${name}`))
  const grid = { stroke: colorOf('line'), width: 1 }
  const axis = { stroke: colorOf('quiet'), grid, ticks: { ...grid, size: 4 }, font: '12px system-ui, sans-serif' }
  const bars = Plot.paths.bars?.({ size: [0.8, 24], align: 1 })
  return {
    width: Math.max(260, holder.clientWidth),
    height: HEIGHT,
    padding: [8, 28, 0, 0],
    cursor: { drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
    scales: { y: { range: (_plot, _least, most) => [0, most > 0 ? most * 1.1 : 1] } },
    axes: [
      { ...axis, space: 80, size: 30, values: (_plot, ticks, _axis, _space, step) => ticks.map(at => tickText(at, step)) },
      { ...axis, size: 58, values: (_plot, ticks) => ticks.map(textOf), ...(isCount && { incrs: WHOLE_STEPS }) },
    ],
    series: [
      { label: 'Time', value: (_plot, at) => (at === null || at === undefined ? '–' : new Date(at * 1_000).toLocaleTimeString('en-GB')) },
      ...curves.map(({ label, color, isBars }) => ({
        label,
        stroke: colorOf(color),
        width: isBars ? 0 : 1.5,
        spanGaps: false,
        points: { show: (plot: uPlot, index: number) => pointsIn(plot.data[index] ?? []) <= FEW_POINTS, size: 4 },
        value: (_plot: uPlot, value: number | null) => (value === null || value === undefined ? '–' : textOf(value)),
        ...(isBars && bars && { fill: colorOf(color), paths: bars }),
      })),
    ],
    hooks: {
      setSelect: [
        plot => {
          const { left, width } = plot.select
          if (width < 4) return
          onRange(plot.posToVal(left, 'x') * 1_000, plot.posToVal(left + width, 'x') * 1_000)
          plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false)
        },
      ],
    },
  }
}

/** A value between gaps has no line: where there are few, they are dots. */
function pointsIn(values: ArrayLike<number | null | undefined>): number {
  return Array.from(values).filter(value => value !== null && value !== undefined).length
}

/** The time of day, or the day where ticks are days apart. */
function tickText(atSeconds: number, stepSeconds: number): string {
  const at = new Date(atSeconds * 1_000)
  if (stepSeconds >= DAY_SECONDS) return at.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })
  return at.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit', ...(stepSeconds < 60 && { second: '2-digit' }) })
}

/** A canvas knows no `light-dark()`: the colour is worked out by an element. */
function canvasColor(color: string): string {
  const probe = element('span', { css: { color } })
  document.body.append(probe)
  const worked = getComputedStyle(probe).color
  probe.remove()
  return worked
}
