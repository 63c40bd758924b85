import { afterEach } from 'vitest'
import { cleanUp } from './clean-up.ts'

// A setup file: Vitest runs it again for each test file. A hook in a module that test files share is registered for the first of them alone.
afterEach(cleanUp)
