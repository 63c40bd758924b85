import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Caller sites are read from real stacks: the module runner's rewritten lines would be wrong (see test/tools).
    experimental: { viteModuleRunner: false },
    pool: 'forks',
    // For what hangs. A machine five times slower than ours must not meet it.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // A test that asserts nothing cannot fail, and one left alone by `only` hides the others.
    // `expect.poll` waits for a state, on a slow machine too: a second, its default, is a deadline.
    expect: { requireAssertions: true, poll: { timeout: 20_000 } },
    allowOnly: false,
    reporters: process.env.CI ? ['default', ['json', { outputFile: 'test/output/results.json' }]] : ['default'],
  },
})
