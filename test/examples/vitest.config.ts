import { defineConfig } from 'vitest/config'

/** A run of its own: it packs and installs this repository in each example, beside the packages that example uses. */
export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ['*.spec.ts'],
    globalSetup: ['pack.ts'],
    experimental: { viteModuleRunner: false },
    pool: 'forks',
    maxWorkers: 3,
    testTimeout: 60_000,
    hookTimeout: 240_000,
    expect: { requireAssertions: true },
    chaiConfig: { truncateThreshold: 2_000 },
    allowOnly: false,
    reporters: process.env.CI ? ['default', ['json', { outputFile: '../output/examples.json' }]] : ['default'],
  },
})
