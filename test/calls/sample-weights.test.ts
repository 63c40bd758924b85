import { describe, expect, it } from 'vitest'
import { SampleWeights } from '../../src/calls/sample-weights.ts'

describe('good calls that are not all kept', () => {
  it('are shown by the next one that is', () => {
    const calls = new SampleWeights()
    const standings = ['chosen', 'passed_over', 'passed_over', 'chosen', 'chosen'] as const
    expect(standings.map(standing => calls.take('work', 'gpt-5.5', standing))).toEqual([1, 0, 0, 3, 1])
  })

  it('are shown by one of the same profile and model', () => {
    const calls = new SampleWeights()
    calls.take('work', 'gpt-5.5', 'passed_over')
    expect(calls.take('work', 'gpt-5.5-mini', 'chosen')).toBe(1)
    expect(calls.take('home', 'gpt-5.5', 'chosen')).toBe(1)
    expect(calls.take('work', 'gpt-5.5', 'chosen')).toBe(2)
  })

  it('are not shown by one that is kept for what happened in it: that one is none of them', () => {
    const calls = new SampleWeights()
    calls.take('work', 'gpt-5.5', 'passed_over')
    expect(calls.take('work', 'gpt-5.5', 'eventful')).toBe(1)
    expect(calls.take('work', 'gpt-5.5', 'chosen')).toBe(2)
  })

  it('are counted together where a client invents models, and none is lost', () => {
    const calls = new SampleWeights()
    for (let index = 0; index < 3_000; index += 1) calls.take('work', `model-${index}`, 'passed_over')
    expect(calls.take('work', 'model-2999', 'chosen')).toBe(2_001)
    expect(calls.take('work', 'model-0', 'chosen')).toBe(2)
  })
})
