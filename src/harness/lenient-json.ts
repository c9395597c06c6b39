const quote = 0x22
const backslash = 0x5c
const minus = 0x2d
const capitalI = 0x49
const words = new Map([
  [0x4e, Buffer.from('NaN')],
  [capitalI, Buffer.from('Infinity')],
])
const nothing = Buffer.from('null')
const sign = Buffer.from('-')

/**
 * Passes JSON on, chunk by chunk, with the bare words NaN, Infinity and -Infinity that Python's `json.dumps` may write
 * replaced by null. Text inside strings is untouched. Chunks may end anywhere.
 */
export class LenientJson {
  private readonly write: (bytes: Uint8Array) => void
  private inString = false
  private escaped = false
  private word: { readonly bytes: Buffer; matched: number } | undefined
  /** A minus that ended a chunk: it may belong to -Infinity. */
  private heldMinus = false

  constructor(write: (bytes: Uint8Array) => void) {
    this.write = write
  }

  push(input: Uint8Array): void {
    const chunk = Buffer.from(input.buffer, input.byteOffset, input.byteLength)
    if (this.heldMinus && chunk.length > 0) {
      this.heldMinus = false
      if (chunk[0] !== capitalI) this.write(sign)
    }
    let from = 0
    let i = 0
    const flush = (end: number, next: number): void => {
      if (end > from) this.write(chunk.subarray(from, end))
      from = next
    }
    while (i < chunk.length) {
      if (this.inString) {
        i = this.skipString(chunk, i)
        continue
      }
      const byte = chunk[i]!
      if (this.word !== undefined) {
        this.matchWord(byte)
        from = i + 1
      } else if (byte === quote) this.inString = true
      else if (words.has(byte)) {
        flush(i, i + 1)
        this.word = { bytes: words.get(byte)!, matched: 1 }
      } else if (byte === minus && i + 1 === chunk.length) {
        flush(i, i + 1)
        this.heldMinus = true
      } else if (byte === minus && chunk[i + 1] === capitalI) flush(i, i + 1)
      i += 1
    }
    flush(chunk.length, chunk.length)
  }

  private matchWord(byte: number): void {
    const word = this.word!
    if (byte !== word.bytes[word.matched])
      throw new SyntaxError(`unexpected byte ${byte} where ${word.bytes} was begun`)
    word.matched += 1
    if (word.matched < word.bytes.length) return
    this.word = undefined
    this.write(nothing)
  }

  /** Position after the string's closing quote, or the end of the chunk. */
  private skipString(chunk: Buffer, start: number): number {
    let i = start
    if (this.escaped) {
      this.escaped = false
      i += 1
    }
    for (;;) {
      const end = chunk.indexOf(quote, i)
      const stop = end < 0 ? chunk.length : end
      let slashes = 0
      while (stop - 1 - slashes >= i && chunk[stop - 1 - slashes] === backslash) slashes += 1
      if (end < 0) {
        this.escaped = slashes % 2 === 1
        return chunk.length
      }
      if (slashes % 2 === 0) {
        this.inString = false
        return end + 1
      }
      i = end + 1
    }
  }
}
