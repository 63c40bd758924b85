import { describe, expect, it } from 'vitest'
import { hiddenTextChanges, hideText, withoutHiddenTexts } from '../../src/tools/hidden-texts.ts'

const clean = (text: string) => withoutHiddenTexts(text, '*')

describe('a hidden text', () => {
  it('is found wherever it stands, and as often', () => {
    hideText('wobblypenguin')
    expect(clean('wobblypenguin')).toBe('*')
    expect(clean('a wobblypenguin, and wobblypenguinwobblypenguin')).toBe('a *, and **')
    expect(clean('wobbly penguin')).toBe('wobbly penguin')
  })

  it('is found when its end was cut off', () => {
    hideText('cut-k3y!odd_7#x')
    expect(clean('key cut-k3y!od')).toBe('key *')
    expect(clean('key cut-k3y!odd but another')).toBe('key * but another')
    expect(clean('key cut-k3y')).toBe('key cut-k3y')
  })

  it('is told from another that begins alike, and the longer one wins', () => {
    hideText('same-head-1')
    hideText('same-head-1-and-more')
    expect(clean('x same-head-1-and-more y same-head-1 z same-head-2')).toBe('x * y * z *2')
  })

  it('is not a text so short that it stands in others by chance', () => {
    hideText('secret7')
    hideText('')
    hideText(undefined)
    expect(clean('secret7')).toBe('secret7')
  })

  it('is announced, so that what was found clean before is looked at again', () => {
    const before = hiddenTextChanges()
    hideText('announced-once')
    hideText('announced-once')
    expect(hiddenTextChanges()).toBe(before + 1)
  })

  it('is forgotten when thousands came after it', () => {
    hideText('forgotten-first')
    for (let count = 0; count < 5_000; count += 1) hideText(`later-${count}-`.padStart(20, '0'))
    expect(clean('forgotten-first')).toBe('forgotten-first')
    expect(clean('later-4999-'.padStart(20, '0'))).toBe('*')
  })
})
