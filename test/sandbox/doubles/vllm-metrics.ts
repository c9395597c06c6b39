import type { Engine } from './engine.ts'

/** A Prometheus histogram with fixed upper bounds. */
class Histogram {
  readonly #bounds: readonly number[]
  readonly #counts: number[]
  #sum = 0
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = new Array(bounds.length + 1).fill(0)
  }
  observe(value: number, times = 1): void {
    const at = this.#bounds.findIndex(bound => value <= bound)
    this.#counts[at < 0 ? this.#bounds.length : at]! += times
    this.#sum += value * times
  }
  lines(name: string, labels: string): string[] {
    let total = 0
    const buckets = this.#counts.map((count, i) => {
      total += count
      return `${name}_bucket{le="${this.#bounds[i] ?? '+Inf'}",${labels}} ${total}`
    })
    return [
      `# TYPE ${name} histogram`,
      ...buckets,
      `${name}_count{${labels}} ${total}`,
      `${name}_sum{${labels}} ${this.#sum}`,
    ]
  }
}

const seconds = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
]
const perToken = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80]
const tokens = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000]

/** The `vllm:*` metrics of one engine, names and labels as vLLM's V1 engine serves them. */
export class VllmMetrics {
  readonly #succeeded = new Map([
    ['stop', 0],
    ['length', 0],
    ['abort', 0],
  ])
  readonly #histograms = {
    'vllm:time_to_first_token_seconds': new Histogram(seconds),
    'vllm:time_per_output_token_seconds': new Histogram(perToken),
    'vllm:inter_token_latency_seconds': new Histogram(perToken),
    'vllm:e2e_request_latency_seconds': new Histogram(seconds),
    'vllm:request_prompt_tokens': new Histogram(tokens),
    'vllm:request_generation_tokens': new Histogram(tokens),
  }
  #promptTokens = 0
  #generationTokens = 0

  firstToken(ttftSeconds: number, promptTokens: number): void {
    this.#histograms['vllm:time_to_first_token_seconds'].observe(ttftSeconds)
    this.#promptTokens += promptTokens
  }
  token(): void {
    this.#generationTokens++
  }
  finished(
    reason: 'length' | 'abort',
    request: { seconds: number; decodeSeconds: number; promptTokens: number; outputTokens: number },
  ): void {
    this.#succeeded.set(reason, this.#succeeded.get(reason)! + 1)
    const gaps = request.outputTokens - 1
    if (gaps > 0) {
      this.#histograms['vllm:inter_token_latency_seconds'].observe(request.decodeSeconds / gaps, gaps)
      this.#histograms['vllm:time_per_output_token_seconds'].observe(request.decodeSeconds / gaps, gaps)
    }
    this.#histograms['vllm:e2e_request_latency_seconds'].observe(request.seconds)
    this.#histograms['vllm:request_prompt_tokens'].observe(request.promptTokens)
    this.#histograms['vllm:request_generation_tokens'].observe(request.outputTokens)
  }

  render(engine: Engine, model: string, cache: { kvTokens: number; blockSize: number }): string {
    const labels = `engine="0",model_name="${model}"`
    const one = (type: string, name: string, value: number) => [`# TYPE ${name} ${type}`, `${name}{${labels}} ${value}`]
    return [
      ...one('gauge', 'vllm:num_requests_running', engine.running.length),
      ...one('gauge', 'vllm:num_requests_waiting', engine.waiting.length),
      ...one('gauge', 'vllm:kv_cache_usage_perc', engine.kvUsage),
      ...one('counter', 'vllm:num_preemptions_total', engine.preemptions),
      ...one('counter', 'vllm:prompt_tokens_total', this.#promptTokens),
      ...one('counter', 'vllm:generation_tokens_total', this.#generationTokens),
      '# TYPE vllm:request_success_total counter',
      ...[...this.#succeeded].map(
        ([reason, n]) => `vllm:request_success_total{${labels},finished_reason="${reason}"} ${n}`,
      ),
      '# TYPE vllm:cache_config_info gauge',
      `vllm:cache_config_info{block_size="${cache.blockSize}",engine="0",num_gpu_blocks="${Math.floor(cache.kvTokens / cache.blockSize)}"} 1`,
      ...Object.entries(this.#histograms).flatMap(([name, histogram]) => histogram.lines(name, labels)),
      '',
    ].join('\n')
  }
}
