/** Notes about objects of others, by the object. */
export interface ObjectAnnotations<Note> {
  of(object: object): Note | undefined
  put(object: object, note: Note): void
  drop(object: object): void
}

/** Makes `this` of a constructor what it is given. */
const Given = function given(object: object): object {
  return object
} as unknown as new (
  object: object,
) => object

/**
 * Keeps notes in the objects they are about, in a private field: no other caller sees it, in no listing and no comparison.
 *
 * The same as a `WeakMap` in all but cost: of short-lived keys in a `WeakMap` the collector looks at every one, and that
 * was the greater part of what it took to follow a request.
 */
export function objectAnnotations<Note>(): ObjectAnnotations<Note> {
  /** A later JavaScript may refuse objects that take no more properties. */
  const closed = new WeakMap<object, Note>()
  class Noted extends Given {
    #note: Note | undefined
    constructor(object: object, note: Note) {
      super(object)
      this.#note = note
    }
    static of(object: object): Note | undefined {
      return #note in object ? object.#note : closed.get(object)
    }
    static put(object: object, note: Note): void {
      if (#note in object) object.#note = note
      else if (Object.isExtensible(object)) new Noted(object, note)
      else closed.set(object, note)
    }
    static drop(object: object): void {
      if (#note in object) object.#note = undefined
      else closed.delete(object)
    }
  }
  return Noted
}
