/** Puts a text on the clipboard. @returns Whether the browser let it. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    // Away from loopback without TLS there is no clipboard for pages; a selected text can be copied by hand.
    const area = Object.assign(document.createElement('textarea'), { value: text, readOnly: true })
    document.body.append(area)
    area.select()
    const isDone = document.execCommand('copy')
    area.remove()
    return isDone
  }
}
