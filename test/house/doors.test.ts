import { describe, expect, it } from 'vitest'
import { importsOf, nodesOf, type SourceFile, type SyntaxNode, sourceFile, sourceFilesIn } from './source-files.ts'

const SDK_METHODS = /^(?:getTracer|getMeter|startActiveSpan|create(?:Counter|UpDownCounter|Histogram|Gauge|Observable\w+))$/

describe('the doors of the house', () => {
  const house = sourceFilesIn('src')

  it('let only src/telemetry reach the tracer and the meter', () => {
    expect(house.flatMap(spansPastTelemetry)).toEqual([])
    for (const call of [
      "trace.getTracer('x')",
      "source.tracer.startSpan('x')",
      "tracer.startActiveSpan('x', work)",
      "meter.createCounter('x')",
      "meter.createObservableGauge('x')",
    ]) {
      expect(spansPastTelemetry(sourceFile('src/refresh/acquire.ts', call))).toHaveLength(1)
      expect(spansPastTelemetry(sourceFile('src/telemetry/telemetry.ts', call))).toEqual([])
    }
    for (const call of ['telemetry.startSpan(SPAN_ACQUIRE)', 'class A { #telemetry; a() { this.#telemetry.startSpan(SPAN_ACQUIRE) } }'])
      expect(spansPastTelemetry(sourceFile('src/refresh/acquire.ts', call))).toEqual([])
  })

  it('let only src/refresh and src/login mint a permit', () => {
    expect(house.flatMap(mints)).toEqual([])
    expect(house.some(({ text }) => text.includes('new Permit('))).toBe(true)
    expect(mints(sourceFile('src/calls/attempt.ts', 'const permit = new Permit({ url, lifetimeMs })'))).toEqual(['src/calls/attempt.ts'])
  })

  it('leave undici alone until a caller sends something: loading it changes what the global fetch of the host runs on', () => {
    expect(house.flatMap(loadsUndici)).toEqual([])
    for (const statement of [
      "import { Agent } from 'undici'",
      "import 'undici'",
      "export { Agent } from 'undici'",
      "import { Pool } from 'undici/pool'",
    ])
      expect(loadsUndici(sourceFile('src/providers/upstream.ts', statement))).toEqual(['src/providers/upstream.ts'])
    for (const statement of [
      "import type { Agent } from 'undici'",
      "const undici = await import('undici')",
      "let undici: typeof import('undici')",
    ])
      expect(loadsUndici(sourceFile('src/providers/upstream.ts', statement))).toEqual([])
  })
})

function spansPastTelemetry(file: SourceFile): string[] {
  if (file.path.startsWith('src/telemetry/')) return []
  return [...nodesOf(file.statements)].flatMap(node => {
    if (node.type !== 'MemberExpression') return []
    const method = nameOf(node.property)
    const isPast = SDK_METHODS.test(method) || (method === 'startSpan' && nameOf(node.object) !== 'telemetry')
    return isPast ? [`${file.path}: ${method}`] : []
  })
}

function mints(file: SourceFile): string[] {
  if (file.path.startsWith('src/refresh/') || file.path.startsWith('src/login/')) return []
  return [...nodesOf(file.statements)]
    .filter(node => node.type === 'NewExpression' && nameOf(node.callee) === 'Permit')
    .map(() => file.path)
}

function loadsUndici(file: SourceFile): string[] {
  if (/^src\/(?:simulator|demo)\//.test(file.path)) return []
  return importsOf(file)
    .filter(({ specifier, typeOnly, dynamic }) => /^undici(?:\/|$)/.test(specifier) && !typeOnly && !dynamic)
    .map(() => file.path)
}

/** The last word of `a`, `a.b` or `a.#b`. */
function nameOf(value: unknown): string {
  const node = value as SyntaxNode
  return node.type === 'MemberExpression' ? nameOf(node.property) : String(node.name)
}
