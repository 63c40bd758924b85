// Says in one plain line what vitest counted, and ends with a code that agrees with it. Any Node runs it.
import { readFileSync } from 'node:fs'

const [testStatus, ...resultsPaths] = process.argv.slice(2)
const { passed, failed, skipped } = sumOf(resultsPaths.map(path => count(read(path))))
const status = Number(testStatus)

if (status !== 0 && failed === 0) say(`the tests ended with code ${status}, but not for a test: see types, lint and errors above`)
if (status === 0 && passed === 0) say('no test ran')
say(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
process.exitCode = status || (failed > 0 || passed === 0 ? 1 : 0)

/** Absent when types or lint failed first, or vitest died: then nothing was counted. */
function read(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  }
}

/** A file that failed without a failed test could not be loaded, or a hook failed: that counts as one. */
function count(results) {
  if (!results) return { passed: 0, failed: 0, skipped: 0 }
  const broken = results.testResults.filter(({ status, assertionResults }) => {
    return status === 'failed' && !assertionResults.some(test => test.status === 'failed')
  })
  return {
    passed: results.numPassedTests,
    failed: results.numFailedTests + broken.length,
    skipped: results.numPendingTests + results.numTodoTests,
  }
}

function sumOf(counts) {
  const sum = { passed: 0, failed: 0, skipped: 0 }
  for (const one of counts) for (const key of Object.keys(sum)) sum[key] += one[key]
  return sum
}

function say(line) {
  process.stdout.write(`${line}\n`)
}
