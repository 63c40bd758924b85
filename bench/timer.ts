/**
 * Preloaded into every process that is measured, whatever it runs: says on request what the process has taken so far,
 * and ends it when the benchmark is gone.
 */
import type { Answer, Question } from './messages.ts'

process.on('message', (question: Question) => {
  if (question.type !== 'usage') return
  const { user, system } = process.cpuUsage()
  const answer: Answer = { type: 'usage', cpuUs: user + system, rssBytes: process.memoryUsage.rss() }
  process.send?.(answer)
})
process.once('disconnect', () => process.exit(0))
