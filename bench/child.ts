import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Answer, LoadJob, LoadResult, Question, Usage } from './messages.ts'

export interface ChildOptions {
  /** The script. */
  file: URL
  parameters?: readonly string[]
  /** Variables on top of the environment, from which `OTEL_*` is taken away. */
  environment?: Readonly<Record<string, string>>
  /** Where the script will listen, when it cannot say so itself. */
  url?: string
}

const METER = new URL('./timer.ts', import.meta.url).href
const START_MS = 15_000
const ANSWER_MS = 30_000
const STOP_MS = 2_000
const LONGEST_COMPLAINT = 2_000

type AnswerOf<Type extends Answer['type']> = Extract<Answer, { type: Type }>

/** A process of the benchmark: it reports its address and its resource usage, and ends on request. */
export class Child {
  readonly url: string
  readonly #process: ChildProcess

  private constructor(url: string, child: ChildProcess) {
    this.url = url
    this.#process = child
  }

  /** Starts a process and waits until it listens. @throws {Error} with what it wrote to stderr when it does not. */
  static async start({ file, parameters = [], environment = {}, url }: ChildOptions): Promise<Child> {
    const child = fork(fileURLToPath(file), [...parameters], {
      execArgv: ['--import', METER],
      env: { ...plainEnvironment(), NODE_ENV: 'production', ...environment },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    let complaint = ''
    child.stderr?.on('data', (text: Buffer) => {
      complaint = (complaint + text.toString('utf8')).slice(-LONGEST_COMPLAINT)
    })
    try {
      const listeningAt = url === undefined ? (await nextAnswer(child, 'ready', START_MS)).url : await answering(child, url)
      return new Child(listeningAt, child)
    } catch (cause) {
      child.kill('SIGKILL')
      throw new Error(`${fileURLToPath(file)} did not start: ${complaint.trim() || String(cause)}`, { cause })
    }
  }

  /** What the process has taken since it began. */
  usage(): Promise<Usage> {
    return this.#ask({ type: 'usage' }, ANSWER_MS)
  }

  /** Lets a load process work. */
  async load(job: LoadJob): Promise<LoadResult> {
    return (await this.#ask({ type: 'load', job }, job.durationMs + ANSWER_MS)).result
  }

  /** Ends the process, by force when it does not listen. */
  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const gone = new Promise(resolve => this.#process.once('exit', resolve))
    const force = setTimeout(() => this.#process.kill('SIGKILL'), STOP_MS)
    if (this.#process.connected) this.#process.disconnect()
    await gone
    clearTimeout(force)
  }

  #ask<Type extends Question['type']>(question: Extract<Question, { type: Type }>, waitMs: number): Promise<AnswerOf<Type>> {
    const answer = nextAnswer(this.#process, question.type as Type, waitMs)
    this.#process.send(question, error => {
      if (error) this.#process.emit('error', error)
    })
    return answer
  }
}

/** The user's own exporters must not take part, and a contestant's telemetry is its own entry. */
function plainEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('OTEL_')))
}

function nextAnswer<Type extends Answer['type']>(child: ChildProcess, type: Type, waitMs: number): Promise<AnswerOf<Type>> {
  return new Promise((resolve, reject) => {
    const onMessage = (answer: unknown) => {
      if (isAnswer(answer, type)) finish(() => resolve(answer))
    }
    const onExit = (code: number | null) => finish(() => reject(new Error(`the process ended (${code})`)))
    const onError = (error: Error) => finish(() => reject(error))
    const timer = setTimeout(() => finish(() => reject(new Error(`no word from the process for ${waitMs} ms`))), waitMs)
    const finish = (end: () => void) => {
      clearTimeout(timer)
      child.off('message', onMessage).off('exit', onExit).off('error', onError)
      end()
    }
    child.on('message', onMessage).on('exit', onExit).on('error', onError)
  })
}

function isAnswer<Type extends Answer['type']>(answer: unknown, type: Type): answer is AnswerOf<Type> {
  return (answer as Answer).type === type
}

/** Waits until something answers at `url`, with whatever status. */
async function answering(child: ChildProcess, url: string): Promise<string> {
  const lastMoment = performance.now() + START_MS
  while (performance.now() < lastMoment && child.exitCode === null) {
    try {
      const { body } = await fetch(url, { signal: AbortSignal.timeout(1_000) })
      await body?.cancel()
      return url
    } catch {
      await new Promise(resolve => setTimeout(resolve, 100))
    }
  }
  throw new Error(`nothing answers at ${url}`)
}
