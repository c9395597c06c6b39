import type { LegDocument, Repeat, Rows, Step } from '../../../src/results/schema.ts'

/** One request as a test writes it: seconds after the begin of the step. */
export interface Request {
  readonly scheduled: number
  readonly sent?: number | null
  readonly firstToken?: number | null
  readonly lastToken?: number | null
  readonly end?: number | null
  readonly status?: 'c' | 'i' | 'e'
  readonly outputTokens?: number | null
  readonly itlMs?: number | null
}

export function rowsOf(requests: readonly Request[]): Rows {
  const column = <T>(read: (r: Request) => T): T[] => requests.map(read)
  return {
    scheduled: column(r => r.scheduled),
    sent: column(r => (r.sent === undefined ? r.scheduled : r.sent)),
    firstToken: column(r => r.firstToken ?? null),
    lastToken: column(r => r.lastToken ?? null),
    end: column(r => r.end ?? null),
    status: column(r => r.status ?? 'c'),
    requestedTokens: column(() => 10),
    promptTokens: column(() => 20),
    outputTokens: column(r => r.outputTokens ?? null),
    itlMs: column(r => r.itlMs ?? null),
    promptHash: column(() => '0123456789abcdef'),
  }
}

export const stepOf = (requests: readonly Request[], change: Partial<Step> = {}): Step => ({
  index: 0,
  rate: 1,
  begin: 1_800_000_000,
  seconds: 10,
  maxConcurrency: 512,
  totals: { successful: 0, incomplete: 0, errored: 0, total: 0 },
  sampled: false,
  dropped: 0,
  sendLagP99Ms: 1,
  rows: rowsOf(requests),
  ...change,
})

/** `n` requests at a constant rate that complete after `seconds` with `tokens` output tokens. */
export const steady = (n: number, rate: number, seconds = 0.5, tokens = 11): Request[] =>
  Array.from({ length: n }, (_, i) => {
    const scheduled = (i + 1) / rate
    return {
      scheduled,
      firstToken: scheduled + 0.1,
      lastToken: scheduled + seconds,
      end: scheduled + seconds,
      outputTokens: tokens,
      itlMs: ((seconds - 0.1) * 1000) / (tokens - 1),
    }
  })

export const repeatOf = (index: number, steps: readonly Step[], change: Partial<Repeat> = {}): Repeat => ({
  index,
  seed: 42 + index,
  startedAt: `2026-11-24T10:${String(index).padStart(2, '0')}:00.000Z`,
  endedAt: `2026-11-24T10:${String(index).padStart(2, '0')}:50.000Z`,
  status: 'done',
  exitCode: 0,
  carriedOver: false,
  clockOffsetMs: 0,
  guidellmVersion: '0.5.0',
  steps: [...steps],
  events: [
    { at: 1_700_000_000_000, kind: 'Deployment', type: 'ADDED', name: 'decode', desired: 2, replicas: 2, ready: 2 },
  ],
  ...change,
})

export const legOf = (repeats: readonly Repeat[], change: Partial<LegDocument> = {}): LegDocument => ({
  schemaVersion: 1,
  key: 'chatbot-synthetic-llama-3-1-8b-0a1b2c',
  leg: 'baseline',
  stage: 'run',
  attempt: 1,
  createdAt: '2026-11-24T12:00:00.000Z',
  simulated: false,
  status: 'done',
  identity: {
    model: 'meta-llama/Llama-3.1-8B',
    namespace: 'llm-d-bench',
    wva: false,
    wellLitPath: 'inference-scheduling',
    release: 'llmdbench',
    replicas: 2,
    gpusPerReplica: 1,
    accelerator: { key: 'nvidia.com/gpu.product', value: 'NVIDIA-H100-80GB-HBM3' },
    settingsHash: '0123456789ab',
    images: {
      vllm: {
        reference: 'ghcr.io/llm-d/llm-d-cuda:v0.4.0',
        imageID: `ghcr.io/llm-d/llm-d-cuda@sha256:${'9c1f'.repeat(16)}`,
      },
      harness: { reference: 'ghcr.io/llm-d/llm-d-benchmark:v0.4.0' },
    },
    workload: {
      profile: 'chatbot_synthetic',
      sha256: 'a1'.repeat(32),
      rates: [1, 2, 4, 8],
      secondsPerRate: 120,
      seed: 42,
      repeats: 2,
      parallelism: 1,
    },
    guidellmVersion: '0.5.0',
    startupProbe: { initialDelaySeconds: 5, periodSeconds: 5, failureThreshold: 360 },
    slo: { ttftMs: 1000, tpotMs: 10, attainment: 0.95 },
  },
  run: {
    repository: 'llm-d/llm-d',
    runId: '123',
    sha: '8d1cb6e8d1cb6e8d1cb6e8d1cb6e8d1cb6e8d1cb',
    prNumber: 7,
    jobName: 'bench',
    url: 'https://github.com/llm-d/llm-d/actions/runs/123',
  },
  timings: { endpoint: 2.31, load: 1043.2 },
  clientLimits: { maxConcurrency: 960, requestTimeoutSeconds: 120 },
  leftovers: [],
  kept: [],
  repeats: [...repeats],
  ...change,
})
