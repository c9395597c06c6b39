/** What a Python literal of plain data becomes. Tuples are arrays. */
export type Literal = null | boolean | number | string | Literal[] | { [key: string]: Literal }

/** Deeper nesting than any request body; a hostile text must not overflow the stack. */
const maxDepth = 40
const escapes: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  t: '\t',
  b: '\b',
  f: '\f',
  v: '\v',
  a: '\x07',
  '0': '\0',
}

/**
 * Reads the `repr` of Python dicts, lists, tuples, strings, numbers, booleans and None: guidellm 0.4 and 0.5 write request
 * bodies and data arguments that way. Undefined when the text is anything else; never throws.
 */
export function parsePythonLiteral(text: string): Literal | undefined {
  const reader = new Reader(text)
  const value = reader.value(0)
  return value !== undefined && reader.atEnd() ? value : undefined
}

class Reader {
  private at = 0
  private readonly text: string
  constructor(text: string) {
    this.text = text
  }

  atEnd(): boolean {
    this.space()
    return this.at === this.text.length
  }

  value(depth: number): Literal | undefined {
    this.space()
    if (depth > maxDepth) return undefined
    const first = this.text[this.at]
    if (first === '{') return this.dict(depth)
    if (first === '[') return this.list(']', depth)
    if (first === '(') return this.list(')', depth)
    if (first === "'" || first === '"') return this.string(first)
    const word = /[A-Za-z0-9_+.-]{1,40}/y
    word.lastIndex = this.at
    const found = word.exec(this.text)?.[0]
    if (found === undefined) return undefined
    this.at += found.length
    if (found === 'None') return null
    if (found === 'True' || found === 'False') return found === 'True'
    const number = Number(found)
    return Number.isNaN(number) ? undefined : number
  }

  private dict(depth: number): Literal | undefined {
    const result: { [key: string]: Literal } = Object.create(null)
    this.at += 1
    for (;;) {
      if (this.takes('}')) return result
      const key = this.value(depth + 1)
      if (typeof key !== 'string' || !this.takes(':')) return undefined
      const value = this.value(depth + 1)
      if (value === undefined) return undefined
      result[key] = value
      if (this.takes(',')) continue
      return this.takes('}') ? result : undefined
    }
  }

  private list(close: string, depth: number): Literal[] | undefined {
    const result: Literal[] = []
    this.at += 1
    for (;;) {
      if (this.takes(close)) return result
      const value = this.value(depth + 1)
      if (value === undefined) return undefined
      result.push(value)
      if (this.takes(',')) continue
      return this.takes(close) ? result : undefined
    }
  }

  private string(quote: string): string | undefined {
    const from = this.at + 1
    let end = from
    for (;;) {
      end = this.text.indexOf(quote, end)
      if (end < 0) return undefined
      let slashes = 0
      while (this.text[end - 1 - slashes] === '\\' && end - 1 - slashes >= from) slashes += 1
      if (slashes % 2 === 0) break
      end += 1
    }
    this.at = end + 1
    const raw = this.text.slice(from, end)
    if (!raw.includes('\\')) return raw
    return raw.replace(/\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[\s\S])/g, (_all, code: string) => {
      if (code.length === 1) return escapes[code] ?? code
      const point = Number.parseInt(code.slice(1), 16)
      return point <= 0x10ffff ? String.fromCodePoint(point) : '\ufffd'
    })
  }

  private takes(mark: string): boolean {
    this.space()
    if (this.text[this.at] !== mark) return false
    this.at += 1
    return true
  }

  private space(): void {
    while (/\s/.test(this.text[this.at] ?? '')) this.at += 1
  }
}
