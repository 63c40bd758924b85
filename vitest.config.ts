import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { compileCache } from './test/compile-cache.ts'
import { TEST_KINDS, type TestKind, testFiles } from './test/projects.ts'

// Each test file and each child process loads some 600 modules: what was stripped and compiled once is read from here.
process.env.NODE_COMPILE_CACHE ??= compileCache(import.meta.dirname)

const files = testFiles()
const STARTS_PROCESSES: ReadonlySet<TestKind> = new Set(['processes', 'programs'])
/** Each project has workers of its own, at two seconds of CPU each: kinds are projects only where one is asked for. */
const projects: readonly (readonly [name: string, kinds: readonly TestKind[]])[] = process.argv.some(text => text.startsWith('--project'))
  ? TEST_KINDS.map(kind => [kind, [kind]])
  : [['all', TEST_KINDS]]

export default defineConfig({
  test: {
    // Caller sites are read from real stacks: the module runner's rewritten lines would be wrong (see test/tools).
    // No module is mocked, so no hook reads or rewrites what Node loads.
    experimental: { viteModuleRunner: false, nodeLoader: false },
    pool: 'forks',
    // A test waits a part of its time, for processes or for a time that it shows.
    maxWorkers: availableParallelism() + 2,
    // For what hangs. A machine five times slower than ours must not meet it.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // A test that asserts nothing cannot fail, and one left alone by `only` hides the others.
    // `expect.poll` waits for a state, on a slow machine too: a second, its default, is a deadline.
    expect: { requireAssertions: true, poll: { timeout: 20_000 } },
    // A log of CI shows the message of a failure: with what was found in it.
    chaiConfig: { truncateThreshold: 2_000 },
    allowOnly: false,
    setupFiles: ['test/support/after-each.ts'],
    reporters: process.env.CI ? ['default', ['json', { outputFile: 'test/output/results.json' }]] : ['default'],
    projects: projects.map(([name, kinds]) => ({
      extends: true,
      test: {
        name,
        include: kinds.flatMap(kind => files.get(kind) ?? []),
        // Files share a process, which then loads the modules of the house once: two seconds of CPU a file.
        isolate: false,
        globalSetup: kinds.some(kind => STARTS_PROCESSES.has(kind)) ? ['test/support/build-package.ts'] : [],
      },
    })),
  },
})
