/** One comparison on the sandbox whose answer is known before it is run. */
export interface ParameterSet {
  readonly title: string
  /** Why the answer is known. */
  readonly truth: string
  readonly legs: readonly { readonly name: string; readonly wva: boolean; readonly replicas: number }[]
  /** The model server's queueing model, see test/sandbox/doubles/engine.ts. */
  readonly server: Readonly<Record<string, string>>
  readonly rates: readonly number[]
  readonly secondsPerRate: number
  readonly repeats: number
  readonly outputTokens: number
  readonly maxReplicas: number
  /** Stabilisation windows of the HPA, s. */
  readonly windows: { readonly up: number; readonly down: number }
}

const both = (replicas: number) => [
  { name: 'baseline', wva: false, replicas },
  { name: 'wva', wva: true, replicas },
]
/** Eight requests at once, 60 tokens of 12 ms each: a replica serves at most about 11 requests per second. */
const smallServer = { SIM_MAX_SEQS: '8', SIM_STEP_MS: '12' }

export const parameterSets: Readonly<Record<string, ParameterSet>> = {
  worth: {
    title: 'WVA is worth it',
    truth:
      'One replica serves about 11 requests per second. The baseline keeps 1 and drowns from 16 on; WVA reacts within about two of six seconds and adds replicas.',
    legs: both(1),
    server: smallServer,
    rates: [4, 8, 16, 24],
    secondsPerRate: 6,
    repeats: 4,
    outputTokens: 60,
    maxReplicas: 4,
    windows: { up: 0, down: 60 },
  },
  'not-worth': {
    title: 'WVA is not worth it',
    truth:
      'The baseline keeps 3 replicas, enough for every rate. A new replica takes 5 s to start, as long as a step: WVA has 1 replica where 3 are needed, and those that it adds come too late.',
    legs: both(3),
    server: { ...smallServer, SIM_START_SECONDS: '5' },
    rates: [16, 24, 16, 24],
    secondsPerRate: 5,
    repeats: 4,
    outputTokens: 60,
    maxReplicas: 4,
    windows: { up: 3, down: 60 },
  },
  aa: {
    title: 'A/A: twice the same leg',
    truth: 'Both legs keep 2 replicas without an autoscaler: every difference is noise.',
    legs: [
      { name: 'baseline', wva: false, replicas: 2 },
      { name: 'again', wva: false, replicas: 2 },
    ],
    server: smallServer,
    rates: [4, 8, 12, 16],
    secondsPerRate: 5,
    repeats: 4,
    outputTokens: 60,
    maxReplicas: 4,
    windows: { up: 0, down: 60 },
  },
}

/** Intervals of the autoscaling platform: what takes minutes on a real cluster takes seconds here. */
export const platform = { reconcile: '500ms', scrape: '250ms', window: '2s', relist: '250ms' } as const

/** The workload as overrides of the built-in profile. */
export const workloadOverrides = (set: ParameterSet): string =>
  [
    `rate: [${set.rates.join(', ')}]`,
    `max_seconds: ${set.secondsPerRate}`,
    'data.prompt_tokens: 300',
    'data.prompt_tokens_stdev: 50',
    'data.prompt_tokens_max: 500',
    `data.output_tokens: ${set.outputTokens}`,
    `data.output_tokens_stdev: ${Math.round(set.outputTokens / 6)}`,
    `data.output_tokens_max: ${set.outputTokens * 2}`,
  ].join('\n')

const direction = (seconds: number) =>
  `{stabilizationWindowSeconds: ${seconds}, policies: [{type: Pods, value: 10, periodSeconds: 15}]}`
export const hpaBehavior = ({ windows }: ParameterSet): string =>
  `scaleUp: ${direction(windows.up)}\nscaleDown: ${direction(windows.down)}`
