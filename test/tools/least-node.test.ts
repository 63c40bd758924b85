import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { isTooOld, LEAST_NODE } from '../../src/tools/least-node.ts'
import { ROOT } from '../house/source-files.ts'

it('the oldest Node is the one that package.json names', () => {
  expect(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))).toMatchObject({ engines: { node: `>=${LEAST_NODE}` } })
})

it.each([
  ['20.20.2', true],
  ['22.9.9', true],
  ['22.22.2', true],
  ['22.22.3', false],
  ['22.22.4-nightly2027', false],
  ['22.100.0', false],
  ['23.0.0', false],
  ['24.21.0', false],
])('Node %s is too old: %s', (version, expected) => {
  expect(isTooOld(version)).toBe(expected)
})
