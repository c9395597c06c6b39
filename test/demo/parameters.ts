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
  /** Inputs slo-ttft and slo-tpot. */
  readonly slo: { readonly ttft: string; readonly tpot: string }
}

const both = (replicas: number) => [
  { name: 'baseline', wva: false, replicas },
  { name: 'wva', wva: true, replicas },
]
/** Eight requests at once, 60 tokens of about 13 ms each: a replica serves about 10 requests per second. */
const smallServer = { SIM_MAX_SEQS: '8', SIM_STEP_MS: '12' }
/** Within reach of that server, when it has no queue. */
const slo = { ttft: '1s', tpot: '20ms' }

export const parameterSets: Readonly<Record<string, ParameterSet>> = {
  worth: {
    title: 'WVA is worth it',
    truth:
      'The load grows in steps that the replicas of before can carry for a while, and a new one serves within about two seconds: both legs meet the targets at every rate. The baseline keeps 3 replicas all the time, WVA has 1 to 3: two fifths to a half less GPU time.',
    legs: both(3),
    server: smallServer,
    rates: [4, 11, 18, 22],
    secondsPerRate: 6,
    repeats: 4,
    outputTokens: 60,
    maxReplicas: 4,
    windows: { up: 0, down: 60 },
    slo,
  },
  'not-worth': {
    title: 'WVA is not worth it',
    truth:
      'One short peak, then nothing. The 2 replicas of the baseline are enough for it. WVA has 1 when it comes, is still adding replicas when it is over, and then keeps them for its down window: half of the requests of the peak miss their target, for a quarter more GPU time.',
    legs: both(2),
    server: smallServer,
    rates: [4, 19, 4, 4, 4, 4],
    secondsPerRate: 6,
    repeats: 4,
    outputTokens: 60,
    maxReplicas: 4,
    windows: { up: 0, down: 60 },
    slo,
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
    slo,
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
