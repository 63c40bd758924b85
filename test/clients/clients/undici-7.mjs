import * as undici from 'undici-7'
import { undiciForms } from './undici-forms.mjs'

export default undiciForms('undici 7', undici)
