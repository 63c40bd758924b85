/** What an element can be given in addition to its children. */
interface Given {
  /** Attributes; one that is `undefined` or `false` is left out. */
  readonly [attribute: string]: string | number | boolean | undefined | Listeners | Readonly<Record<string, string>>
  readonly on?: Listeners
  /** Properties of style, set one by one: the page's policy refuses a `style` attribute. */
  readonly css?: Readonly<Record<string, string>>
}

type Listeners = Readonly<Record<string, (event: Event) => void>>
export type Child = Node | string | number | undefined | false

const SVG = 'http://www.w3.org/2000/svg'

/** An element of HTML. Texts become text, whatever they hold. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  given: Given = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  return filled(document.createElement(tag), given, children)
}

/** An element of SVG. */
export function drawn<K extends keyof SVGElementTagNameMap>(
  tag: K,
  given: Given = {},
  ...children: readonly Child[]
): SVGElementTagNameMap[K] {
  return filled(document.createElementNS(SVG, tag), given, children)
}

function filled<E extends HTMLElement | SVGElement>(made: E, { on, css, ...attributes }: Given, children: readonly Child[]): E {
  for (const [name, value] of Object.entries(attributes))
    if (value !== undefined && value !== false) made.setAttribute(name, value === true ? '' : String(value))
  for (const [name, listener] of Object.entries(on ?? {})) made.addEventListener(name, listener)
  for (const [name, value] of Object.entries(css ?? {})) made.style.setProperty(name, value)
  made.append(...nodesOf(children))
  return made
}

function nodesOf(children: readonly Child[]): (Node | string)[] {
  return children.filter(child => child !== undefined && child !== false).map(child => (typeof child === 'number' ? String(child) : child))
}

/** Puts new children into an element, and the focus back on the one of the same key. */
export function fill(into: Element, ...children: readonly Child[]): void {
  const focused = document.activeElement
  const key = focused && into.contains(focused) ? focused.getAttribute('data-key') : null
  const scrolled = new Map(
    [...into.querySelectorAll('[data-scroll]')].map(part => [part.getAttribute('data-scroll'), [part.scrollLeft, part.scrollTop]]),
  )
  into.replaceChildren(...nodesOf(children))
  for (const part of into.querySelectorAll('[data-scroll]')) {
    const [left = 0, top = 0] = scrolled.get(part.getAttribute('data-scroll')) ?? []
    part.scrollLeft = left
    part.scrollTop = top
  }
  if (key === null) return
  const same = [...into.querySelectorAll('[data-key]')].find(candidate => candidate.getAttribute('data-key') === key)
  if (same instanceof HTMLElement || same instanceof SVGElement) same.focus({ preventScroll: true })
}
