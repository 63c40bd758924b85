import type { Diagnosis } from '../diagnose/diagnose.ts'
import { type CountedWord, type Finding, HYPOTHESES, type RankedCaller, type ShapeComparison } from '../diagnose/finding.ts'
import { inWords } from './output.ts'

const SEVERITY_WORDS = {
  grant_dead: 'CANNOT REFRESH',
  money_spent: 'MONEY SPENT',
  storm: 'STORM',
  divergence: 'DIVERGENCE',
  warning: 'WARNING',
} as const satisfies Record<Finding['severity'], string>

const HYPOTHESIS_WORDS = {
  token_rejected: 'the endpoint rejects the token itself',
  another_caller: 'another caller goes past the known one',
  request_shape: 'a field of the request is wrong or missing',
} as const satisfies Record<Finding['hypotheses'][number]['hypothesis'], string>

const LABEL = 12
const NARROWEST = 60
const WIDEST = 140
const CALLERS_SHOWN = 5
const TRACES_SHOWN = 3

/** What `diagnose` says, for people: the most harmful finding first, each readable alone. */
export function diagnosisText({ findings, checked }: Diagnosis, nowMs: number, columns = 100): string {
  const width = Math.min(WIDEST, Math.max(NARROWEST, columns))
  const reported = findings.map(finding => findingText(finding, nowMs, width))
  return [...(reported.length === 0 ? ['Nothing to report.'] : reported), checkedText(checked, width)].join('\n\n')
}

/** One finding, for people. */
function findingText(finding: Finding, nowMs: number, width: number): string {
  const { seen, callers, reasons, vias, outcomes, shape, hypotheses, remedy, explains, traceIds } = finding
  const rows: (readonly [string, string] | undefined)[] = [
    [
      'seen',
      `${seen.count} times, ${timesText(seen, nowMs)}; ${finding.confidence}${finding.surerBy ? ` (surer by ${finding.surerBy})` : ''}`,
    ],
    ['what', finding.what],
    finding.profiles.length > 0 ? ['profile', finding.profiles.join(', ')] : ['provider', finding.providers.join(', ') || 'unknown'],
    ...callers.slice(0, CALLERS_SHOWN).map((caller, index) => [index === 0 ? 'callers' : '', callerText(caller)] as const),
    callers.length > CALLERS_SHOWN ? ['', `and ${callers.length - CALLERS_SHOWN} more (--json shows them)`] : undefined,
    [...reasons, ...vias, ...outcomes].length === 0
      ? undefined
      : ['counts', [wordsText('reason', reasons), wordsText('via', vias), wordsText('outcome', outcomes)].filter(Boolean).join('; ')],
    ...(shape ? shapeRows(shape) : []),
    ...HYPOTHESES.flatMap((name, index) =>
      hypotheses
        .filter(({ hypothesis }) => hypothesis === name)
        .map(
          ({ verdict, evidence }) =>
            [`hypothesis ${index + 1}`, `${verdict.toUpperCase()}: ${HYPOTHESIS_WORDS[name]} - ${evidence}`] as const,
        ),
    ),
    ...explains.map(({ title, count }) => ['explains', `${title} (${count})`] as const),
    ...remedy.map((step, index) => [index === 0 ? 'to do' : '', `${index + 1}. ${step}`] as const),
    [
      'traces',
      traceIds.slice(0, TRACES_SHOWN).join(' ') + (traceIds.length > TRACES_SHOWN ? ` and ${traceIds.length - TRACES_SHOWN} more` : ''),
    ],
  ]
  const body = rows.filter(row => row !== undefined).map(([label, text]) => wrapped(label, text, width))
  return [`${SEVERITY_WORDS[finding.severity]}  ${finding.title}`, ...body].join('\n')
}

function checkedText(checked: Diagnosis['checked'], width: number): string {
  const { events, firstMs, lastMs, profiles, processes, counts, rules } = checked
  if (events === 0 || firstMs === undefined || lastMs === undefined)
    return `Checked: no event was recorded in this time; ${rules} rules had nothing to look at.${gapsText(checked)}`
  const kinds = Object.entries(counts)
    .map(([kind, count]) => `${count} ${kind}`)
    .join(', ')
  const names = profiles.length === 0 ? 'none named' : profiles.join(', ')
  return wrapped(
    'checked',
    `${events} events (${kinds}) of ${processes} ${processes === 1 ? 'process' : 'processes'}, from ${clock(firstMs)} to ${clock(lastMs)}, by ${rules} rules; profiles: ${names}.${gapsText(checked)}`,
    width,
    '',
  )
}

function callerText({ caller, place, count, via, processes }: RankedCaller): string {
  const [, name = caller] = caller.split('#')
  const where = place === undefined ? caller : `${place} ${name}`
  const ran = processes.map(({ pid, role, title }) => `${role} ${title} ${pid}`).join(', ')
  return `${count} x ${where}${via.length > 0 ? ` via ${via.join(', ')}` : ''}${ran ? ` in ${ran}` : ''}`
}

function shapeRows({ failing, lastGood, differences }: ShapeComparison): (readonly [string, string])[] {
  const sent = `${failing.encoding ?? ''} ${failing.fields ?? ''}`.trim()
  if (!lastGood) return [['request', `${sent} (no earlier request that worked was seen)`]]
  if (differences.length === 0) return [['request', `${sent} - the same as the last one that worked`]]
  return [
    ['request', sent],
    ['', `unlike the last one that worked: ${differences.join('; ')}`],
  ]
}

function wordsText(name: string, words: readonly CountedWord[]): string {
  return words.length === 0 ? '' : `${name} ${words.map(({ word, count }) => `${word} ${count}`).join(', ')}`
}

function timesText({ first, last }: Finding['seen'], nowMs: number): string {
  const ago = `${inWords(Math.max(0, (nowMs - Date.parse(last)) / 1000))} ago`
  return first === last ? `${clock(Date.parse(first))} (${ago})` : `${clock(Date.parse(first))} to ${clock(Date.parse(last))} (${ago})`
}

/** Local time, with the date: an event store holds a week. */
function clock(epochMs: number): string {
  const at = new Date(epochMs)
  const two = (value: number) => String(value).padStart(2, '0')
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`
}

/** What is missing in what was looked at. */
function gapsText({ unreadable, leftOut, failedRules = [] }: Diagnosis['checked']): string {
  return [
    failedRules.length > 0 && ` Not looked for, by a fault of Gatewatch itself (please report it): ${failedRules.join(', ')}.`,
    unreadable > 0 && ` Left out as damaged: ${unreadable} recorded ${unreadable === 1 ? 'row' : 'rows'}.`,
    leftOut > 0 && ` About ${leftOut} older events of this time were left out: name a shorter one with --since.`,
  ]
    .filter(Boolean)
    .join('')
}

/** A label in a column of its own, with the text beside it in lines of that width; a word that is too long stays whole. */
function wrapped(label: string, text: string, width: number, indent = '  '): string {
  const first = `${indent}${label.padEnd(LABEL)}  `
  const room = width - first.length
  const lines: string[] = ['']
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? ''
    if (line !== '' && line.length + 1 + word.length > room) lines.push(word)
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`
  }
  return lines.map((line, index) => (index === 0 ? first : ' '.repeat(first.length)) + line).join('\n')
}
