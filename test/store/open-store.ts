import { type FileStoreOptions, fileStore } from '../../src/store/file-store.ts'
import type { ProfileStore } from '../../src/store/profile-store.ts'
import { afterwards } from '../support/clean-up.ts'

/** A file store that is closed when the test is over. */
export function openStore(folder: string, options?: FileStoreOptions): ProfileStore {
  const store = fileStore(folder, options)
  afterwards(() => store.close())
  return store
}
