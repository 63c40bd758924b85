// Says in one plain line what vitest counted, and ends with a code that agrees with it. Any Node runs it.
import { readFileSync } from 'node:fs'
import { relative } from 'node:path'

const [testStatus, ...resultsPaths] = process.argv.slice(2)
const allResults = resultsPaths.map(read).filter(results => results !== undefined)
const { passed, failed, skipped } = sumOf(allResults.map(count))
const status = Number(testStatus)

// Minutes of output lie between a failure and this line, and a log is often read from its end.
for (const failure of allResults.flatMap(failures)) say(failure)

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

function count(results) {
  return {
    passed: results.numPassedTests,
    failed: results.numFailedTests + results.testResults.filter(isBroken).length,
    skipped: results.numPendingTests + results.numTodoTests,
  }
}

/** A file that failed without a failed test could not be loaded, or a hook failed: that counts as one. */
function isBroken({ status, assertionResults }) {
  return status === 'failed' && !assertionResults.some(test => test.status === 'failed')
}

/** Every failed test with its file and what it said. */
function failures(results) {
  return results.testResults.flatMap(file => {
    const place = relative(process.cwd(), file.name)
    if (isBroken(file)) return [`FAILED ${place}\n${file.message}`]
    return file.assertionResults
      .filter(test => test.status === 'failed')
      .map(test => `FAILED ${place} > ${test.fullName}\n${test.failureMessages.join('\n')}`)
  })
}

function sumOf(counts) {
  const sum = { passed: 0, failed: 0, skipped: 0 }
  for (const one of counts) for (const key of Object.keys(sum)) sum[key] += one[key]
  return sum
}

function say(line) {
  process.stdout.write(`${line}\n`)
}
