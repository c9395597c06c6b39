import { randomUUID } from 'node:crypto'
import { arch, platform, release } from 'node:os'
import type { Exchange, Step } from './load.ts'
import { metricsOf, type RequestRecord } from './metrics.ts'
import type { Scenario } from './scenario.ts'

/** Python's `repr` of a plain value: what guidellm 0.5.0 writes where JSON could be expected. */
export function pythonRepr(value: unknown): string {
  if (value === null || value === undefined) return 'None'
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (typeof value === 'number') return String(value)
  if (typeof value === 'string') {
    const quote = value.includes("'") && !value.includes('"') ? '"' : "'"
    const escaped = value
      .replaceAll('\\', '\\\\')
      .replaceAll('\n', '\\n')
      .replaceAll('\r', '\\r')
      .replaceAll('\t', '\\t')
      .replaceAll(quote, `\\${quote}`)
    return quote + escaped + quote
  }
  if (Array.isArray(value)) return `[${value.map(pythonRepr).join(', ')}]`
  return `{${Object.entries(value)
    .map(([key, v]) => `${pythonRepr(key)}: ${pythonRepr(v)}`)
    .join(', ')}}`
}

/** Requests that were made ready and never sent; guidellm counts them in two places that are not `request_totals`. */
const prefetched = 8
const none = [
  'image_tokens',
  'image_count',
  'image_pixels',
  'image_bytes',
  'video_tokens',
  'video_frames',
  'video_seconds',
  'video_bytes',
  'audio_tokens',
  'audio_samples',
  'audio_seconds',
  'audio_bytes',
]

function usage(tokens: number | null, words: number, characters: number): Record<string, number | null> {
  return {
    text_tokens: tokens,
    text_words: words,
    text_characters: characters,
    ...Object.fromEntries(none.map(name => [name, null])),
    total_tokens: tokens,
  }
}

const wordsIn = (text: string) => text.match(/\S+/g)?.length ?? 0

function record(exchange: Exchange, step: Step, chat: boolean): RequestRecord {
  const { targetedStart, requestStart, firstToken, lastToken, requestEnd, resolveEnd, status } = exchange
  const succeeded = status === 'successful'
  const promptTokens = exchange.usage?.prompt_tokens ?? exchange.prompt.promptTokens
  // Usage is the last event of a stream: a request that did not finish has none.
  const outputTokens = exchange.usage?.completion_tokens ?? null
  const latency = succeeded ? requestEnd! - requestStart : null
  const later = outputTokens !== null && outputTokens > 1 && exchange.tokenIterations > 1
  const args = { method: null, stream: true, headers: null, params: null, body: exchange.body, files: null }
  const fields = {
    type_: 'generative_request_stats',
    request_id: exchange.id,
    request_type: chat ? 'chat_completions' : 'text_completions',
    response_id: exchange.responseId,
    request_args: pythonRepr(args),
    output: status === 'errored' ? null : exchange.text,
    info: {
      request_id: exchange.id,
      status: succeeded ? 'completed' : status === 'errored' ? 'errored' : 'cancelled',
      scheduler_node_id: -1,
      scheduler_process_id: 0,
      scheduler_start_time: step.startTime,
      timings: {
        targeted_start: targetedStart,
        queued: exchange.queued,
        dequeued: requestStart,
        scheduled_at: requestStart,
        resolve_start: requestStart,
        request_start: requestStart,
        first_request_iteration: exchange.firstIteration,
        first_token_iteration: firstToken,
        last_token_iteration: lastToken,
        last_request_iteration: exchange.lastIteration,
        request_iterations: exchange.iterations,
        token_iterations: exchange.tokenIterations,
        request_end: requestEnd,
        resolve_end: resolveEnd,
        finalized: resolveEnd,
      },
      error: exchange.error,
      started_at: requestStart,
      completed_at: requestEnd ?? resolveEnd,
    },
    input_metrics: usage(promptTokens, wordsIn(exchange.prompt.text), exchange.prompt.text.length),
    output_metrics:
      status === 'errored'
        ? { ...usage(null, 0, 0), text_words: null, text_characters: null }
        : usage(outputTokens, wordsIn(exchange.text), exchange.text.length),
    request_start_time: requestStart,
    request_end_time: requestEnd ?? resolveEnd,
    request_latency: latency,
    prompt_tokens: promptTokens,
    input_tokens: promptTokens,
    output_tokens: outputTokens,
    total_tokens: promptTokens + (outputTokens ?? 0),
    time_to_first_token_ms: firstToken === null ? null : (firstToken - requestStart) * 1000,
    time_per_output_token_ms: outputTokens ? (((lastToken ?? resolveEnd) - requestStart) * 1000) / outputTokens : null,
    inter_token_latency_ms:
      firstToken === null || outputTokens === null || outputTokens <= 1
        ? null
        : ((lastToken! - firstToken) * 1000) / (outputTokens - 1),
    tokens_per_second: latency && outputTokens !== null ? (promptTokens + outputTokens) / latency : null,
    output_tokens_per_second: latency && outputTokens !== null ? outputTokens / latency : null,
    iter_tokens_per_iteration: later ? (outputTokens! - 1) / (exchange.tokenIterations - 1) : null,
    output_tokens_per_iteration:
      outputTokens === null || exchange.tokenIterations < 1 ? null : outputTokens / exchange.tokenIterations,
  }
  return fields
}

function benchmark(
  scenario: Scenario & { model: string },
  steps: readonly Step[],
  index: number,
  runId: string,
): Record<string, unknown> {
  const step = steps[index]!
  const of = (status: Exchange['status']) =>
    step.exchanges.filter(e => e.status === status).map(e => record(e, step, scenario.chat))
  const requests = { successful: of('successful'), errored: of('errored'), incomplete: of('incomplete') }
  const counts = {
    successful: requests.successful.length,
    errored: requests.errored.length,
    incomplete: requests.incomplete.length + prefetched,
  }
  const total = counts.successful + counts.errored + counts.incomplete
  const strategy = (rate: number) => ({
    type_: 'constant',
    worker_count: 1,
    max_concurrency: scenario.maxConcurrency,
    rate,
  })
  const delays = step.exchanges.map(e => e.requestStart - e.targetedStart)
  // -1 stands for "no data", as in guidellm's own averages.
  const mean = (values: readonly number[]) =>
    values.length === 0 ? -1 : values.reduce((a, b) => a + b, 0) / values.length || -1
  const constraint = {
    request_queuing: 'stop',
    request_processing: 'stop_local',
    metadata: {
      max_duration: scenario.maxSeconds,
      duration_exceeded: true,
      start_time: step.startTime,
      stop_time: step.endTime,
    },
    progress: {
      remaining_requests: null,
      total_requests: null,
      remaining_duration: 0,
      total_duration: scenario.maxSeconds,
      stop_time: step.endTime,
    },
  }
  const transient = { percent: null, value: null, mode: 'prefer_duration' }
  return {
    type_: 'generative_benchmark',
    config: {
      id_: randomUUID(),
      run_id: runId,
      run_index: index,
      strategy: strategy(step.rate),
      constraints: { max_seconds: { type_: 'max_duration', max_duration: scenario.maxSeconds, current_index: index } },
      sample_requests: null,
      warmup: transient,
      cooldown: transient,
      prefer_response_metrics: true,
      profile: {
        type_: 'constant',
        completed_strategies: steps.slice(0, index + 1).map(s => strategy(s.rate)),
        constraints: { max_seconds: scenario.maxSeconds },
        rampup_duration: 0,
        strategy_type: 'constant',
        rate: scenario.rates,
        max_concurrency: null,
        random_seed: scenario.seed,
        strategy_types: scenario.rates.map(() => 'constant'),
      },
      requests: { data: pythonRepr([scenario.data]), random_seed: scenario.seed },
      backend: {
        target: scenario.target,
        model: scenario.model,
        timeout: scenario.timeoutSeconds,
        http2: true,
        follow_redirects: true,
        verify: false,
      },
      environment: { type: 'NonDistributedEnvironment' },
    },
    scheduler_state: {
      node_id: 0,
      num_processes: 1,
      start_time: step.startTime,
      end_time: step.endTime,
      end_queuing_time: step.endTime,
      end_queuing_constraints: { max_seconds: constraint },
      end_processing_time: step.endTime,
      end_processing_constraints: { max_seconds: constraint },
      scheduler_constraints: { max_seconds: constraint },
      progress: constraint.progress,
      created_requests: total,
      queued_requests: 0,
      pending_requests: 0,
      processing_requests: 0,
      processed_requests: total,
      successful_requests: counts.successful,
      errored_requests: counts.errored,
      cancelled_requests: counts.incomplete,
    },
    scheduler_metrics: {
      start_time: step.startTime,
      request_start_time: step.startTime,
      measure_start_time: step.startTime,
      measure_end_time: step.endTime,
      request_end_time: step.endTime,
      end_time: step.endTime,
      requests_made: { ...counts, total },
      queued_time_avg: mean(step.exchanges.map(e => e.requestStart - e.queued)),
      resolve_start_delay_avg: -1,
      resolve_targeted_start_delay_avg: mean(delays),
      request_start_delay_avg: -1,
      request_targeted_start_delay_avg: mean(delays),
      request_time_avg: mean(requests.successful.map(r => r.request_latency!)),
      resolve_end_delay_avg: -1,
      resolve_time_avg: mean(step.exchanges.map(e => e.resolveEnd - e.requestStart)),
      finalized_delay_avg: -1,
      processed_delay_avg: -1,
    },
    metrics: metricsOf(requests, { start: step.startTime, end: step.endTime }),
    requests: { ...requests, total: null },
    start_time: step.startTime,
    end_time: step.endTime,
    duration: step.endTime - step.startTime,
    warmup_duration: 0,
    cooldown_duration: 0,
  }
}

/** The whole report of a run, in the format of guidellm 0.5.0. */
export function report(
  scenario: Scenario & { model: string },
  steps: readonly Step[],
  output: { dir: string; file: string },
): { benchmarks: Record<string, unknown>[] } & Record<string, unknown> {
  const runId = randomUUID()
  return {
    metadata: {
      version: 1,
      guidellm_version: '0.5.0',
      python_version: '3.12.9',
      platform: `${platform()}-${release()}-${arch()}-double`,
    },
    args: {
      target: scenario.target,
      data: [pythonRepr(scenario.data)],
      profile: 'constant',
      rate: scenario.rates,
      backend: 'openai_http',
      backend_kwargs: scenario.backendKwargs ?? null,
      model: scenario.model,
      processor: scenario.processor ?? null,
      processor_args: null,
      data_args: [],
      data_samples: -1,
      data_column_mapper: 'generative_column_mapper',
      data_request_formatter: scenario.chat ? 'chat_completions' : 'text_completions',
      data_collator: 'generative',
      data_sampler: null,
      data_num_workers: 1,
      dataloader_kwargs: null,
      random_seed: scenario.seed,
      outputs: [output.file],
      output_dir: output.dir,
      sample_requests: 10,
      warmup: null,
      cooldown: null,
      rampup: 0,
      prefer_response_metrics: true,
      max_seconds: scenario.maxSeconds,
      max_requests: null,
      max_errors: null,
      max_error_rate: null,
      max_global_error_rate: null,
      over_saturation: null,
    },
    benchmarks: steps.map((_step, index) => benchmark(scenario, steps, index, runId)),
  }
}
