import { DiskRecorder, type DiskRecorderOptions } from '../../src/events/disk-recorder.ts'
import { type ChildProcess, startChild as startFixture } from '../support/child-process.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { spansInto } from './world-spans.ts'

/** A recorder of this process, in a folder of its own unless one is given; closed when the test is over. */
export function diskWorld(options: Partial<DiskRecorderOptions> = {}) {
  const folder = options.folder ?? stateFolder()
  const failures: unknown[] = []
  const recorder = new DiskRecorder({ processRole: 'gateway', onFailure: error => failures.push(error), ...options, folder })
  afterwards(() => recorder.shutdown())
  return { folder, recorder, failures, ...spansInto(recorder) }
}

/** Starts a script of `fixtures/`; it is gone when the test is over. */
export function startChild(script: string, ...parameters: string[]): ChildProcess {
  return startFixture(new URL(`./fixtures/${script}`, import.meta.url), ...parameters)
}
