import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { temporaryFolder } from './watched.ts'

/** Calls `work` below as many frames as the stack of an application has. */
export type Deep = <T>(work: () => Promise<T>) => Promise<T>

/** Functions that call each other, from a file of an application: some wait for the next one, as its own code does. */
export async function deepStack(frames: number): Promise<Deep> {
  const lines = Array.from({ length: frames }, (_, index) => {
    const next = index === 0 ? 'work' : `layer${index - 1}`
    const given = index === 0 ? '' : 'work'
    return index % 5 === 4
      ? `async function layer${index}(work) {\n  const answer = await ${next}(${given})\n  return answer\n}`
      : `function layer${index}(work) {\n  const answer = ${next}(${given})\n  return answer\n}`
  })
  const file = join(temporaryFolder(), 'application.mjs')
  writeFileSync(file, `${lines.join('\n')}\nexport const deep = layer${frames - 1}\n`)
  const { deep } = (await import(pathToFileURL(file).href)) as { deep: Deep }
  return deep
}
