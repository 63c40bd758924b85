export type { CredentialMark, Rest, RestAnswer, RestCause } from './domain/cooldown.ts'
export { type FileStoreOptions, fileStore } from './store/file-store.ts'
export { memoryStore } from './store/memory-store.ts'
export type { DamagedProfile, Lease, LeaseOptions, ProfileStore, RestStore, StoredRest } from './store/profile-store.ts'
