import * as undici from 'undici-8'
import { undiciForms } from './undici-forms.mjs'

export default undiciForms('undici 8', undici)
