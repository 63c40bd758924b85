/** A page of the simulator: no script, no style, so that a program reads it as easily as a person. */
export function browserPage(title: string, body: string): string {
  return `<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>${escaped(title)}</title>\n<h1>${escaped(title)}</h1>\n${body}\n</html>\n`
}

/** A form that asks for the account to sign in with, and carries `fields` on. */
export function signInForm(fields: Iterable<readonly [string, string]>, asked: readonly string[] = ['account']): string {
  const hidden = [...fields].map(([name, value]) => `<input type="hidden" name="${escaped(name)}" value="${escaped(value)}">`)
  const inputs = asked.map(name => `<label>${escaped(name)} <input name="${escaped(name)}" required></label>`)
  return `<form method="get">\n${[...hidden, ...inputs].join('\n')}\n<button>Sign in</button>\n<button name="deny" value="1" formnovalidate>Refuse</button>\n</form>`
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)
}
