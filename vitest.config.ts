import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Caller sites are read from real stacks: the module runner's rewritten lines would be wrong (see test/tools).
    experimental: { viteModuleRunner: false },
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
})
