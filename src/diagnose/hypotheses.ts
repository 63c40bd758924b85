import type { Hypothesis, HypothesisVerdict, ShapeComparison } from './finding.ts'

/** The evidence speaks for it. */
export function supported(hypothesis: Hypothesis, evidence: string): HypothesisVerdict {
  return { hypothesis, verdict: 'supported', evidence }
}

/** The evidence speaks against it. */
export function excluded(hypothesis: Hypothesis, evidence: string): HypothesisVerdict {
  return { hypothesis, verdict: 'excluded', evidence }
}

/** What the shapes say about the third hypothesis; nothing where one of them was not seen. */
export function judgeShape(shape: ShapeComparison | undefined): HypothesisVerdict[] {
  if (!shape?.lastGood) return []
  const { differences } = shape
  return differences.length === 0
    ? [excluded('request_shape', 'the failing request has the same fields, classes of values and encoding as the last one that worked')]
    : [supported('request_shape', `compared with the last request that worked: ${differences.join('; ')}`)]
}
