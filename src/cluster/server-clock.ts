/** Counts on when the host's clock is set, and does not jump with it. */
const steady = (): number => performance.timeOrigin + performance.now()
/** Resolution of the `Date` header. */
const secondMs = 1000

/**
 * The API server's clock as seen from here. Every answer bounds the offset between the two clocks: it was dated after the
 * request left and before the answer arrived, and the header is cut to whole seconds. The bounds of all answers are
 * intersected, so a slow answer never spoils what a fast one told; the estimate is the middle of what is left. After one
 * answer it is off by at most half a second plus half the round trip, after a few by little more than the round trip.
 */
export class ServerClock {
  readonly #own: () => number
  #low = Number.NEGATIVE_INFINITY
  #high = Number.POSITIVE_INFINITY

  /** `own` is this process's clock in ms; tests put skewed ones here. */
  constructor(own: () => number = steady) {
    this.#own = own
  }

  /** This process's clock, to be read before a request is sent. */
  own(): number {
    return this.#own()
  }

  /** Takes in the `Date` header of an answer that has just arrived. What is no date is ignored. */
  learn(header: string | undefined, sentAt: number): void {
    const date = Date.parse(header ?? '')
    if (!Number.isFinite(date)) return
    const low = date - this.#own()
    const high = date + secondMs - sentAt
    // Bounds that exclude each other: one of the clocks was set, or drifted, or another server answered. The newest counts.
    const apart = low > this.#high || high < this.#low
    this.#low = apart ? low : Math.max(low, this.#low)
    this.#high = apart ? high : Math.min(high, this.#high)
  }

  /** ms since the epoch on the server's clock; this process's own clock before the first answer. */
  now(): number {
    return this.#own() + (Number.isFinite(this.#low) ? (this.#low + this.#high) / 2 : 0)
  }
}
