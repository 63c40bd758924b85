import type { CountedStack } from './answers.ts'

interface SpeedscopeFrame {
  readonly name: string
  readonly file?: string
  readonly line?: number
}

/** A file of the profile viewer speedscope. */
export interface SpeedscopeFile {
  readonly $schema: 'https://www.speedscope.app/file-format-schema.json'
  readonly name: string
  readonly exporter: string
  readonly activeProfileIndex: 0
  readonly shared: { readonly frames: readonly SpeedscopeFrame[] }
  readonly profiles: readonly {
    readonly type: 'sampled'
    readonly name: string
    readonly unit: 'none'
    readonly startValue: 0
    readonly endValue: number
    readonly samples: readonly (readonly number[])[]
    readonly weights: readonly number[]
  }[]
}

/**
 * The stacks that trigger refresh as a file that speedscope opens: one profile by count, one by failures.
 *
 * @see https://github.com/jlfwong/speedscope/blob/main/src/lib/file-format-spec.ts
 */
export function speedscopeFile(stacks: readonly CountedStack[], name: string): SpeedscopeFile {
  const frames: SpeedscopeFrame[] = []
  const indexes = new Map<string, number>()
  const samples = stacks.map(stack =>
    stack.frames.map(frame => {
      const key = `${frame.name}\0${frame.file}\0${frame.line}`
      const known = indexes.get(key)
      if (known !== undefined) return known
      frames.push({ name: frame.name, ...(frame.file !== '' && { file: frame.file, line: frame.line }) })
      indexes.set(key, frames.length - 1)
      return frames.length - 1
    }),
  )
  const profile = (title: string, weights: number[]) => ({
    ...{ type: 'sampled' as const, name: title, unit: 'none' as const, startValue: 0 as const },
    endValue: weights.reduce((sum, weight) => sum + weight, 0),
    samples,
    weights,
  })
  return {
    $schema: 'https://www.speedscope.app/file-format-schema.json',
    name,
    exporter: 'gatewatch',
    activeProfileIndex: 0,
    shared: { frames },
    profiles: [
      profile(
        'refreshes',
        stacks.map(({ count }) => count),
      ),
      profile(
        'failed refreshes',
        stacks.map(({ failures }) => failures),
      ),
    ],
  }
}
