/** Where a user signs in, as it is shown. */
export interface SignInPage {
  /** The page itself. It holds the state of this login, and no other secret. */
  readonly url: string
  /** To be entered on that page. */
  readonly userCode?: string
  /** What is left until the login is given up, in ms. */
  readonly limitMs: number
}

/** How a login speaks with the person who signs in. */
export interface LoginPrompts {
  /** Shows the page; the login waits from now on. */
  show(page: SignInPage): void
  /** Asks for the address at which the browser ended. @throws when nothing more will come. */
  paste(signal: AbortSignal): Promise<string>
  /** Says something on the way. */
  note(text: string): void
}
