/** Times of one request, seconds since the Unix epoch on the harness clock; null or absent where it never happened. */
export interface GuidellmTimings {
  readonly targeted_start?: number | null
  readonly request_start?: number | null
  readonly first_token_iteration?: number | null
  readonly last_token_iteration?: number | null
  readonly token_iterations?: number | null
  readonly request_end?: number | null
  readonly resolve_end?: number | null
}

/** The fields of a guidellm request record that are the same from 0.4 on, and the two that our reader leaves behind. */
export interface GuidellmRecord {
  /** JSON text or null in a reduced report: `{"max_tokens": N}`. */
  readonly request_args?: string | null
  /** First 16 hex digits of the SHA-256 of the prompt; written by our reader. */
  readonly prompt_hash?: string | null
  readonly info?: { readonly error?: string | null; readonly timings?: GuidellmTimings }
  readonly request_start_time?: number | null
  readonly request_end_time?: number | null
  /** SECONDS, unlike every other latency. */
  readonly request_latency?: number | null
  readonly prompt_tokens?: number | null
  readonly output_tokens?: number | null
  readonly time_to_first_token_ms?: number | null
  readonly inter_token_latency_ms?: number | null
}

/** One entry of `benchmarks[]`, guidellm 0.4 to 0.8: one rate. */
export interface GuidellmBenchmark {
  readonly config?: {
    readonly strategy?: {
      readonly type_?: string
      readonly rate?: number | null
      readonly max_concurrency?: number | null
    }
    readonly constraints?: Readonly<Record<string, unknown>>
  }
  readonly metrics?: { readonly request_totals?: Readonly<Record<string, number>> }
  readonly requests?: Readonly<Record<'successful' | 'errored' | 'incomplete', readonly GuidellmRecord[] | null>>
  /** Begin and end of guidellm's own measurement window, epoch s. */
  readonly start_time?: number
  readonly end_time?: number
  readonly duration?: number
}
