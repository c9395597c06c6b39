/** What one replica can do. Times are milliseconds of simulated time, sizes are tokens. */
export interface EngineParameters {
  /** Sequences in a batch at most: vLLM's `--max-num-seqs`. */
  readonly maxSeqs: number
  readonly kvTokens: number
  /** Tokens computed in one step at most, prompts cut to fit: vLLM's `--max-num-batched-tokens`. */
  readonly batchTokens: number
  readonly prefillTokensPerSecond: number
  readonly stepMs: number
  readonly stepMsPerSequence: number
  readonly stepMsPerThousandTokens: number
}

/**
 * An 8B model in bfloat16 on one H100 80GB, derived, not measured: 16 GB of weights at 3.35 TB/s take 4.8 ms, plus
 * launch overhead in eager mode; a token of KV cache is 128 KiB, so (76 - 16 - 5) GB hold about 420,000 and reading a
 * thousand of them takes 0.04 ms; prompts run at 40 % of 990 TFLOP/s dense over 16 GFLOP per token.
 */
export const h100: EngineParameters = {
  maxSeqs: 256,
  kvTokens: 420_000,
  batchTokens: 8192,
  prefillTokensPerSecond: 25_000,
  stepMs: 7,
  stepMsPerSequence: 0.03,
  stepMsPerThousandTokens: 0.04,
}

export interface Sequence {
  readonly promptTokens: number
  readonly maxTokens: number
  readonly arrivedMs: number
  /** Output tokens so far. */
  produced: number
  /** Tokens of prompt (and, after a preemption, of output) whose KV entries still have to be computed. */
  toPrefill: number
  /** KV tokens held. */
  held: number
}

/**
 * A queueing model of one vLLM replica: first come, first served; a step computes one token for every running sequence
 * and, within the token budget, prompts, which make the step longer for all. When the KV cache is full the youngest
 * sequence is put back and computed again later. Time comes from outside, so a test can run an hour in a moment.
 */
export class Engine {
  readonly running: Sequence[] = []
  readonly waiting: Sequence[] = []
  preemptions = 0
  #kvUsed = 0
  #step: { endMs: number; decoding: Sequence[]; prefilled: Sequence[] } | undefined
  readonly #parameters: EngineParameters
  readonly #onToken: (sequence: Sequence, atMs: number) => void

  constructor(parameters: EngineParameters, onToken: (sequence: Sequence, atMs: number) => void) {
    this.#parameters = parameters
    this.#onToken = onToken
  }

  /** Share of the KV cache in use, 0 to 1. */
  get kvUsage(): number {
    return this.#kvUsed / this.#parameters.kvTokens
  }

  /** When `advance` has something to do next; undefined while there is no work. */
  get wakeAtMs(): number | undefined {
    return this.#step?.endMs
  }

  submit(promptTokens: number, maxTokens: number, nowMs: number): Sequence {
    this.advance(nowMs)
    const sequence = { promptTokens, maxTokens, arrivedMs: nowMs, produced: 0, toPrefill: promptTokens, held: 0 }
    this.waiting.push(sequence)
    if (this.#step === undefined) this.#begin(nowMs)
    return sequence
  }

  /** Forgets a sequence whose client went away. */
  cancel(sequence: Sequence): void {
    this.#remove(this.waiting, sequence)
    if (this.#remove(this.running, sequence)) this.#release(sequence)
  }

  /** Finishes every step that ends by `nowMs` and starts the next ones. */
  advance(nowMs: number): void {
    while (this.#step !== undefined && this.#step.endMs <= nowMs) this.#finish(this.#step)
  }

  #begin(nowMs: number): void {
    const p = this.#parameters
    while (this.running.length > 1 && this.#kvUsed + this.running.length > p.kvTokens) {
      const youngest = this.running.pop()!
      this.#release(youngest)
      youngest.toPrefill = youngest.promptTokens + youngest.produced
      this.waiting.unshift(youngest)
      this.preemptions++
    }
    const decoding = this.running.filter(s => s.toPrefill === 0)
    let budget = p.batchTokens - decoding.length
    let prefill = 0
    const prefilled: Sequence[] = []
    const compute = (sequence: Sequence) => {
      const chunk = Math.min(budget, sequence.toPrefill)
      sequence.toPrefill -= chunk
      budget -= chunk
      prefill += chunk
      if (sequence.toPrefill === 0) prefilled.push(sequence)
    }
    for (const sequence of this.running) if (sequence.toPrefill > 0 && budget > 0) compute(sequence)
    while (budget > 0 && this.waiting.length > 0 && this.running.length < p.maxSeqs) {
      const next = this.waiting[0]!
      if (this.running.length > 0 && this.#kvUsed + this.running.length + 1 + next.toPrefill > p.kvTokens) break
      this.waiting.shift()
      next.held = next.toPrefill
      this.#kvUsed += next.held
      this.running.push(next)
      compute(next)
    }
    if (this.running.length === 0) {
      this.#step = undefined
      return
    }
    const duration =
      p.stepMs +
      p.stepMsPerSequence * decoding.length +
      (p.stepMsPerThousandTokens * this.#kvUsed) / 1000 +
      (prefill * 1000) / p.prefillTokensPerSecond
    this.#step = { endMs: nowMs + duration, decoding, prefilled }
  }

  #finish(step: { endMs: number; decoding: Sequence[]; prefilled: Sequence[] }): void {
    for (const group of [step.decoding, step.prefilled]) {
      for (const sequence of group) {
        if (sequence.held === 0) continue
        sequence.produced++
        sequence.held++
        this.#kvUsed++
        if (sequence.produced >= sequence.maxTokens) {
          this.#remove(this.running, sequence)
          this.#release(sequence)
        }
        this.#onToken(sequence, step.endMs)
      }
    }
    this.#begin(step.endMs)
  }

  #release(sequence: Sequence): void {
    this.#kvUsed -= sequence.held
    sequence.held = 0
  }

  #remove(list: Sequence[], sequence: Sequence): boolean {
    const at = list.indexOf(sequence)
    if (at >= 0) list.splice(at, 1)
    return at >= 0
  }
}

/** Parameters from the environment: SIM_MAX_SEQS, SIM_KV_TOKENS, SIM_BATCH_TOKENS, SIM_PREFILL_TPS, SIM_STEP_MS, ... */
export function parametersFrom(env: Readonly<Record<string, string | undefined>>, maxSeqs?: number): EngineParameters {
  const number = (name: string, otherwise: number): number => {
    const value = Number(env[name] ?? otherwise)
    if (!(value >= 0)) throw new Error(`${name} must be a number, not ${env[name]}`)
    return value
  }
  return {
    maxSeqs: number('SIM_MAX_SEQS', maxSeqs ?? h100.maxSeqs),
    kvTokens: number('SIM_KV_TOKENS', h100.kvTokens),
    batchTokens: number('SIM_BATCH_TOKENS', h100.batchTokens),
    prefillTokensPerSecond: number('SIM_PREFILL_TPS', h100.prefillTokensPerSecond),
    stepMs: number('SIM_STEP_MS', h100.stepMs),
    stepMsPerSequence: number('SIM_STEP_MS_PER_SEQ', h100.stepMsPerSequence),
    stepMsPerThousandTokens: number('SIM_STEP_MS_PER_KTOKEN', h100.stepMsPerThousandTokens),
  }
}
