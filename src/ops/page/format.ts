import { element } from './element.ts'

/** 12,345 */
export function count(value: number): string {
  return value.toLocaleString('en')
}

/** How often, in the unit that gives a number one can read. */
export function rate(perHour: number): string {
  if (perHour >= 36_000) return `${digits(perHour / 3_600)}/s`
  return perHour >= 30 ? `${digits(perHour / 60)}/min` : `${digits(perHour)}/h`
}

/** A share in percent. */
export function percentage(part: number, whole: number): string {
  if (whole === 0) return '–'
  const percent = (part / whole) * 100
  return percent > 0 && percent < 0.1 ? '<0.1 %' : `${digits(percent)} %`
}

/** A length of time, from milliseconds. */
export function duration(ms: number | undefined): string {
  if (ms === undefined) return '–'
  if (ms < 1_000) return `${digits(ms)} ms`
  if (ms < 60_000) return `${digits(ms / 1_000)} s`
  return span(ms)
}

/** `in 9 d 3 h`, `4 min ago`. */
function relative(atMs: number, nowMs = Date.now()): string {
  const ms = atMs - nowMs
  return ms > 500 ? `in ${span(ms)}` : ms > -1_000 ? 'now' : `${span(-ms)} ago`
}

/** A moment shown as its distance from now, kept true by `keepTimesTrue`; the exact time stands in its title. */
export function moment(atMs: number): HTMLTimeElement {
  return element('time', { datetime: new Date(atMs).toISOString(), title: clock(atMs), 'data-at': atMs }, relative(atMs))
}

/** Date and time of day, to the millisecond. */
export function clock(atMs: number): string {
  const at = new Date(atMs)
  const pad = (value: number, length = 2) => String(value).padStart(length, '0')
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${timeOfDay(atMs)}.${pad(at.getMilliseconds(), 3)}`
}

function timeOfDay(atMs: number): string {
  return new Date(atMs).toLocaleTimeString('en-GB')
}

/** Renews every moment on the page. */
export function keepTimesTrue(): void {
  for (const time of document.querySelectorAll<HTMLTimeElement>('time[data-at]')) {
    const text = relative(Number(time.dataset.at))
    if (time.textContent !== text) time.textContent = text
  }
}

/** Words of telemetry for people: `needs_login` is `needs login`. */
export function plain(word: string): string {
  return word.replaceAll('_', ' ')
}

function span(ms: number): string {
  const seconds = Math.round(ms / 1_000)
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return minutes < 5 && seconds % 60 > 0 ? `${minutes} min ${seconds % 60} s` : `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`
  return `${Math.floor(hours / 24)} d${hours % 24 === 0 ? '' : ` ${hours % 24} h`}`
}

/** Three digits say enough. */
function digits(value: number): string {
  return value >= 100 || Number.isInteger(value) ? count(Math.round(value)) : value.toPrecision(value < 1 ? 1 : 2)
}
