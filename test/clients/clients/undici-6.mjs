import * as undici from 'undici-6'
import { undiciForms } from './undici-forms.mjs'

export default undiciForms('undici 6', undici)
