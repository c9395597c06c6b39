import { randomUUID } from 'node:crypto'
import { arch, platform, release } from 'node:os'
import type { Exchange, Step } from './load.ts'
import { metricsOf } from './metrics.ts'
import { pythonRepr } from './python.ts'
import { record } from './record.ts'
import type { Scenario } from './scenario.ts'

/** Requests that were made ready and never sent; guidellm counts them in two places that are not `request_totals`. */
const prefetched = 8
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
