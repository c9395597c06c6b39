import type { LogOptions } from '../runtime.ts'

/** As much of one container's log is kept; a kubelet rotates at the same size. */
const maxBytes = 10 * 1024 * 1024

interface Line {
  at: Date
  text: Buffer
}

/** What one run of a container wrote, line by line, with the time of receipt. */
export class ContainerLog {
  #lines: Line[] = []
  #bytes = 0
  #dropped = 0
  #ended = false
  #wake: (() => void)[] = []
  readonly #partial = new Map<string, Buffer>()

  write(stream: 'stdout' | 'stderr', chunk: Buffer): void {
    const text = Buffer.concat([this.#partial.get(stream) ?? Buffer.alloc(0), chunk])
    const end = text.lastIndexOf(0x0a) + 1
    this.#partial.set(stream, text.subarray(end))
    for (let from = 0; from < end; ) {
      const to = text.indexOf(0x0a, from) + 1
      this.#add(text.subarray(from, to))
      from = to
    }
    this.#notify()
  }

  #add(text: Buffer): void {
    this.#lines.push({ at: new Date(), text })
    this.#bytes += text.length
    if (this.#bytes <= maxBytes) return
    const half = this.#lines.length >> 1
    this.#dropped += half
    this.#lines = this.#lines.slice(half)
    this.#bytes = this.#lines.reduce((sum, l) => sum + l.text.length, 0)
  }

  /** No more will come; an unfinished line counts as one. */
  end(): void {
    for (const rest of this.#partial.values()) if (rest.length > 0) this.#add(rest)
    this.#partial.clear()
    this.#ended = true
    this.#notify()
  }

  #notify(): void {
    const wake = this.#wake
    this.#wake = []
    for (const resume of wake) resume()
  }

  text(): string {
    return Buffer.concat(this.#lines.map(l => l.text)).toString('utf8')
  }

  /** The lines that the caller asked for; with `follow`, new ones until the container ends. */
  async *read(options: LogOptions): AsyncIterable<Uint8Array> {
    const since = options.sinceSeconds === undefined ? undefined : Date.now() - options.sinceSeconds * 1000
    const total = this.#dropped + this.#lines.length
    let next = options.tailLines === undefined ? this.#dropped : Math.max(this.#dropped, total - options.tailLines)
    let left = options.limitBytes ?? Number.POSITIVE_INFINITY
    const stop = () => this.#notify()
    options.signal.addEventListener('abort', stop, { once: true })
    try {
      for (;;) {
        next = Math.max(next, this.#dropped)
        const batch = this.#lines
          .slice(next - this.#dropped)
          .filter(l => since === undefined || l.at.getTime() >= since)
        next = this.#dropped + this.#lines.length
        const parts = batch.flatMap(l =>
          options.timestamps ? [Buffer.from(`${l.at.toISOString().replace('Z', '000000Z')} `), l.text] : [l.text],
        )
        if (parts.length > 0) {
          const out = Buffer.concat(parts).subarray(0, left)
          left -= out.length
          yield out
        }
        if (left <= 0 || options.signal.aborted) return
        if (next < this.#dropped + this.#lines.length) continue
        if (!options.follow || this.#ended) return
        await new Promise<void>(resolve => this.#wake.push(resolve))
      }
    } finally {
      options.signal.removeEventListener('abort', stop)
    }
  }
}
