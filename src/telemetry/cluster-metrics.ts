import type { Cluster } from 'node:cluster'
import type { Server, Socket } from 'node:net'
import { GatewayError } from '../domain/gateway-error.ts'
import { atExit } from '../tools/run-guarded.ts'
import { settledWithin } from '../tools/time-limit.ts'
import {
  ClusterChannel,
  clusterPath,
  connectToCluster,
  type MemberMessage,
  openClusterSocket,
  removeClusterSocket,
  type SumMessage,
} from './cluster-channel.ts'
import type { FaultReporter } from './fault-reporter.ts'
import type { MetricStorage } from './metric-storage.ts'
import type { MetricsAnswer } from './running-telemetry.ts'
import { type SeriesSnapshot, SeriesSum, snapshotOf } from './series-sum.ts'

interface ClusterMetricsOptions {
  /** The series of this Gatewatch. */
  readonly series: MetricStorage
  /** Renews gauges, for a scrape. */
  readonly refreshGauges: () => Promise<void>
  /** Writes an answer to a scrape. @param storage @default the series of this Gatewatch */
  readonly write: (accept: string | undefined, storage?: MetricStorage) => Promise<MetricsAnswer>
  readonly faults: FaultReporter
}

/** A worker sends its series this often, for the case that it is killed. */
const SEND_EVERY_MS = 5_000
/** A worker that does not send its series in this time counts with those it sent last. */
const COLLECT_MS = 1_000
/** Longest wait of a worker for the primary: to be found, and to answer. */
const FIND_MS = 2_000
const ANSWER_MS = 5_000
const RETRY_MS = [50, 100, 200, 400, 800, 1_600, 5_000] as const
const PLACE = 'the metrics of the cluster'

/**
 * One answer to a scrape for all processes of a `node:cluster`, whichever of them is asked.
 *
 * The primary sums the series of its workers; a worker passes a scrape on to it. What a worker had counted stays in the sum after
 * its end. In a process that is no part of a cluster nothing is opened, and `metrics` writes the series of the process.
 */
export class ClusterMetrics {
  readonly #options: ClusterMetricsOptions
  readonly #cluster: Cluster
  /** Of this Gatewatch among all of the cluster, over every connection. */
  readonly #id: string = process.getBuiltinModule('node:crypto').randomUUID()
  /** Where the primary listens: of the parent that started this worker, not of one that adopts it. */
  readonly #path: string
  readonly #onFork = () => this.#join()
  #joining = Promise.withResolvers<void>()
  #sum: ClusterSum | undefined
  #member: ClusterMember | undefined
  #isPart = false
  #isClosed = false
  #tries = 0
  #retry: NodeJS.Timeout | undefined
  #hasNoticed = false

  constructor(options: ClusterMetricsOptions) {
    this.#options = options
    this.#cluster = process.getBuiltinModule('node:cluster') as unknown as Cluster
    this.#path = clusterPath(this.#cluster.isWorker ? process.ppid : process.pid)
  }

  /** Joins the cluster, once there is one. */
  start(): void {
    const { isWorker, workers } = this.#cluster
    if (isWorker || Object.keys(workers ?? {}).length > 0) this.#join()
    else this.#cluster.once('fork', this.#onFork)
  }

  /**
   * What a scrape of any process of the cluster gets.
   *
   * @throws {GatewayError} `GW_OVERLOADED` when the primary does not answer: the series of this worker alone would let counters go down.
   */
  async metrics(accept: string | undefined): Promise<MetricsAnswer> {
    if (this.#isPart && !this.#sum && !this.#member && this.#tries < RETRY_MS.length) await settledWithin(this.#joining.promise, FIND_MS)
    if (this.#sum) return this.#sum.answer(accept)
    if (this.#member) return this.#member.scrape(accept)
    if (this.#isPart && !this.#isClosed) this.#noticeAlone()
    await this.#options.refreshGauges()
    return this.#options.write(accept)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#cluster.off('fork', this.#onFork)
    clearTimeout(this.#retry)
    this.#sum?.close()
    await this.#member?.leave()
    this.#sum = undefined
    this.#member = undefined
  }

  #join(): void {
    this.#isPart = true
    void this.#tryToJoin().catch(fault => this.#options.faults.report(PLACE, fault))
  }

  async #tryToJoin(): Promise<void> {
    const { isWorker } = this.#cluster
    if (!isWorker) await this.#openSum()
    if (!this.#sum) await this.#connect()
    if (this.#isClosed) return this.close()
    if (this.#sum || this.#member) {
      this.#tries = 0
      this.#joining.resolve()
      return
    }
    this.#retry = setTimeout(() => this.#join(), RETRY_MS[Math.min(this.#tries, RETRY_MS.length - 1)]).unref()
    this.#tries += 1
  }

  async #openSum(): Promise<void> {
    const sum = new ClusterSum(this.#options)
    if (await sum.open(this.#path)) this.#sum = sum
  }

  async #connect(): Promise<void> {
    let socket: Socket
    try {
      socket = await connectToCluster(this.#path)
    } catch {
      // The next try of the primary finds the place free; a worker waits for its primary.
      if (!this.#cluster.isWorker) removeClusterSocket(this.#path)
      return
    }
    this.#member = new ClusterMember(socket, this.#id, this.#options, () => this.#lost())
  }

  #lost(): void {
    if (this.#isClosed) return
    this.#member = undefined
    this.#joining = Promise.withResolvers()
    this.#join()
  }

  #noticeAlone(): void {
    if (this.#hasNoticed) return
    this.#hasNoticed = true
    this.#options.faults.notice(
      new GatewayError(
        'GW_CONFIG',
        'this worker of a cluster shows its own metrics alone, so that counters differ from scrape to scrape; create a Gatewatch in the primary process too, which sums them',
        { next: 'fix_configuration' },
      ),
    )
  }
}

/** A Gatewatch that reports to another one, which sums. */
class ClusterMember {
  readonly #id: string
  readonly #options: ClusterMetricsOptions
  readonly #channel: ClusterChannel<SumMessage, MemberMessage>
  readonly #sending: NodeJS.Timeout
  readonly #forgetExit: () => void
  readonly #scrapes = new Map<number, PromiseWithResolvers<MetricsAnswer | undefined>>()
  #lastScrape = 0

  constructor(socket: Socket, id: string, options: ClusterMetricsOptions, onLost: () => void) {
    this.#id = id
    this.#options = options
    this.#channel = new ClusterChannel(
      socket,
      message => this.#receive(message),
      () => {
        this.#stop()
        onLost()
      },
    )
    this.#sending = setInterval(() => this.#send(), SEND_EVERY_MS)
    this.#sending.unref()
    this.#forgetExit = atExit(() => this.#send())
    this.#send()
  }

  /** @throws {GatewayError} `GW_OVERLOADED` */
  async scrape(accept: string | undefined): Promise<MetricsAnswer> {
    this.#lastScrape += 1
    const id = this.#lastScrape
    const waiting = Promise.withResolvers<MetricsAnswer | undefined>()
    this.#scrapes.set(id, waiting)
    this.#channel.send({ kind: 'scrape', id, ...(accept !== undefined && { accept }) })
    const answer = await settledWithin(waiting.promise, ANSWER_MS)
    this.#scrapes.delete(id)
    if (answer) return answer
    throw new GatewayError('GW_OVERLOADED', 'the primary process of the cluster, which sums the metrics, did not answer', {
      next: 'try_again_later',
    })
  }

  /** Sends what was counted last. */
  async leave(): Promise<void> {
    this.#send()
    this.#channel.send({ kind: 'left', member: this.#id })
    this.#stop()
    await settledWithin(this.#channel.end(), COLLECT_MS)
    this.#channel.close()
  }

  #stop(): void {
    clearInterval(this.#sending)
    this.#forgetExit()
    for (const waiting of this.#scrapes.values()) waiting.resolve(undefined)
  }

  #send(asked?: number): void {
    const series = snapshotOf(this.#options.series)
    this.#channel.send({ kind: 'series', member: this.#id, pid: process.pid, series, ...(asked !== undefined && { asked }) })
  }

  #receive(message: SumMessage): void {
    if (message.kind === 'collect') {
      const send = () => this.#send(message.id)
      this.#options.refreshGauges().then(send, send)
      return
    }
    const { contentType, body } = message.kind === 'answer' ? message : {}
    this.#scrapes.get(message.id)?.resolve(contentType !== undefined && body !== undefined ? { contentType, body } : undefined)
  }
}

/** Another Gatewatch of the cluster, as the one that sums knows it. */
interface KnownMember {
  readonly pid: number
  series: readonly SeriesSnapshot[]
  /** `undefined` once it is closed: the process may have ended, or will connect again. */
  channel: ClusterChannel<MemberMessage, SumMessage> | undefined
}

/** The Gatewatch of the primary, which sums. */
class ClusterSum {
  readonly #options: ClusterMetricsOptions
  readonly #members = new Map<string, KnownMember>()
  readonly #channels = new Set<ClusterChannel<MemberMessage, SumMessage>>()
  /** What those had counted that have ended. */
  readonly #ended = new SeriesSum()
  readonly #collections = new Map<number, { readonly missing: Set<string>; readonly done: () => void }>()
  #lastCollection = 0
  #server: Server | undefined
  #forgetExit: () => void = () => undefined

  constructor(options: ClusterMetricsOptions) {
    this.#options = options
  }

  /** @returns Whether the place was free. @throws what the system says. */
  async open(path: string): Promise<boolean> {
    this.#server = await openClusterSocket(path, socket => this.#connected(socket))
    if (this.#server) this.#forgetExit = atExit(() => removeClusterSocket(path))
    return this.#server !== undefined
  }

  async answer(accept: string | undefined): Promise<MetricsAnswer> {
    await Promise.all([this.#options.refreshGauges(), this.#collect()])
    const sum = new SeriesSum()
    sum.add(snapshotOf(this.#options.series))
    sum.add(snapshotOf(this.#ended.storage))
    for (const { series, channel } of this.#members.values()) sum.add(series, { isGone: channel === undefined })
    return this.#options.write(accept, sum.storage)
  }

  close(): void {
    this.#forgetExit()
    this.#server?.close()
    for (const channel of this.#channels) channel.close()
  }

  #connected(socket: Socket): void {
    const channel: ClusterChannel<MemberMessage, SumMessage> = new ClusterChannel(
      socket,
      (message: MemberMessage) => this.#receive(message, channel),
      () => this.#disconnected(channel),
    )
    this.#channels.add(channel)
  }

  #receive(message: MemberMessage, channel: ClusterChannel<MemberMessage, SumMessage>): void {
    if (message.kind === 'series') {
      const { member, pid, series, asked } = message
      this.#members.set(member, { pid, series, channel })
      if (asked !== undefined) this.#collected(asked, member)
    } else if (message.kind === 'left') this.#end(message.member)
    else {
      const { id, accept } = message
      this.answer(accept).then(
        answer => channel.send({ kind: 'answer', id, ...answer }),
        () => channel.send({ kind: 'refused', id }),
      )
    }
  }

  #disconnected(channel: ClusterChannel<MemberMessage, SumMessage>): void {
    this.#channels.delete(channel)
    for (const [id, member] of this.#members) {
      if (member.channel !== channel) continue
      member.channel = undefined
      for (const collection of this.#collections.keys()) this.#collected(collection, id)
    }
  }

  /** Gets the series of every member; one that does not send them in time counts with those it has sent last. */
  async #collect(): Promise<void> {
    for (const [id, { channel, pid }] of this.#members) if (!channel && !isRunning(pid)) this.#end(id)
    const missing = new Set([...this.#members].filter(([, { channel }]) => channel).map(([id]) => id))
    if (missing.size === 0) return
    this.#lastCollection += 1
    const id = this.#lastCollection
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#collections.set(id, { missing, done: resolve })
    for (const { channel } of this.#members.values()) channel?.send({ kind: 'collect', id })
    await settledWithin(promise, COLLECT_MS)
    this.#collections.delete(id)
  }

  #collected(collection: number, member: string): void {
    const waiting = this.#collections.get(collection)
    waiting?.missing.delete(member)
    if (waiting?.missing.size === 0) waiting.done()
  }

  #end(id: string): void {
    const member = this.#members.get(id)
    if (member) this.#ended.add(member.series, { isGone: true })
    this.#members.delete(id)
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
