import type { Exchange, Step } from './load.ts'
import type { RequestRecord } from './metrics.ts'
import { pythonRepr } from './python.ts'

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

/** One entry of `requests.<status>[]`. */
export function record(exchange: Exchange, step: Step, chat: boolean): RequestRecord {
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
