import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Caller sites are read from real stacks: the module runner's rewritten lines would be wrong (see test/tools).
    experimental: { viteModuleRunner: false },
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // A test that asserts nothing cannot fail, and one left alone by `only` hides the others.
    expect: { requireAssertions: true },
    allowOnly: false,
    reporters: process.env.CI ? ['default', ['json', { outputFile: 'test/output/results.json' }]] : ['default'],
  },
})
