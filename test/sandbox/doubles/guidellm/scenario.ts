import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import { flagsOf } from '../wire.ts'

/** Lengths of one side of the synthetic requests, in tokens. */
export interface Lengths {
  readonly mean: number
  readonly stdev?: number
  readonly min?: number
  readonly max?: number
}
export interface Scenario {
  readonly target: string
  readonly model: string | undefined
  readonly chat: boolean
  readonly rates: readonly number[]
  readonly maxSeconds: number
  readonly seed: number
  readonly prompt: Lengths
  readonly output: Lengths
  /** The data map as it was given, for the report. */
  readonly data: Readonly<Record<string, unknown>>
  readonly processor: string | undefined
  /** A read without a byte for this long is an error; only `backend_kwargs.timeout` changes it. */
  readonly timeoutSeconds: number
  readonly backendKwargs: Readonly<Record<string, unknown>> | undefined
  readonly maxConcurrency: number
}

/** An argument that click would refuse: exit 2. Any other error is exit 1. */
export class UsageError extends Error {}

/** The options that matter here, by their names on the command line; a scenario file and GUIDELLM_* spell them with `_`. */
const names = [
  'target',
  'model',
  'profile',
  'rate',
  'max-seconds',
  'random-seed',
  'data',
  'data-request-formatter',
  'request-type',
  'processor',
  'backend-kwargs',
  'backend-args',
  'warmup',
  'cooldown',
]

/**
 * Options in guidellm 0.5.0's order: command line, then environment, then scenario file. Keys that nobody knows are ignored.
 * @throws UsageError when target, profile, rates or data make no sense
 */
export function readScenario(argv: readonly string[], env: Readonly<Record<string, string | undefined>>): Scenario {
  const flags = flagsOf(argv)
  const file = flags.get('scenario') ?? env.GUIDELLM_SCENARIO
  const from: Record<string, unknown> = {}
  if (file !== undefined) {
    let text: string
    try {
      text = readFileSync(file, 'utf8')
    } catch {
      throw new UsageError(`Invalid value for '--scenario' / '-c': File '${file}' does not exist.`)
    }
    for (const [key, value] of Object.entries((parse(text) ?? {}) as Record<string, unknown>))
      from[key.replaceAll('_', '-')] = value
  }
  for (const name of names) {
    const value = flags.get(name) ?? env[`GUIDELLM_${name.replaceAll('-', '_').toUpperCase()}`]
    if (value !== undefined) from[name] = value
  }
  const target = from.target
  if (typeof target !== 'string' || !/^https?:\/\//.test(target))
    throw new UsageError(`Value error, target must be a URL, got ${String(target)}`)
  if (from.profile !== undefined && from.profile !== 'constant')
    throw new UsageError(`this double plays profile constant only, not ${String(from.profile)}`)
  const rates = (Array.isArray(from.rate) ? from.rate : String(from.rate ?? '').split(',')).map(Number)
  if (rates.length === 0 || rates.some(rate => !(rate > 0)))
    throw new UsageError(`Value error, rate must be a list of positive numbers, got ${String(from.rate)}`)
  const maxSeconds = Number(from['max-seconds'])
  if (!(maxSeconds > 0)) throw new UsageError(`this double needs max_seconds, got ${String(from['max-seconds'])}`)
  const data = dataMap(from.data)
  const backendKwargs = mapping(from['backend-kwargs'] ?? from['backend-args'])
  const formatter = String(from['request-type'] ?? from['data-request-formatter'] ?? 'chat_completions')
  return {
    target: target.replace(/\/+$/, '').replace(/\/v1$/, ''),
    model: from.model === undefined ? undefined : String(from.model),
    chat: formatter !== 'text_completions',
    rates,
    maxSeconds,
    seed: Number(from['random-seed'] ?? 42),
    prompt: lengths(data, 'prompt_tokens'),
    output: lengths(data, 'output_tokens'),
    data,
    processor: from.processor === undefined ? undefined : String(from.processor),
    timeoutSeconds: Number(backendKwargs?.timeout ?? 60),
    backendKwargs,
    maxConcurrency: Number(env.GUIDELLM__MAX_CONCURRENCY ?? 512),
  }
}

function dataMap(data: unknown): Record<string, unknown> {
  const one = Array.isArray(data) ? data[0] : data
  if (typeof one === 'string' && !one.trim().startsWith('{')) {
    return Object.fromEntries(one.split(',').map(pair => pair.split('=') as [string, string]))
  }
  const map = mapping(one)
  if (map === undefined)
    throw new UsageError(`Unsupported data for SyntheticTextDatasetDeserializer, got ${JSON.stringify(data) ?? 'None'}`)
  return map
}

function mapping(value: unknown): Record<string, unknown> | undefined {
  const plain = typeof value === 'string' ? (parse(value) as unknown) : value
  return typeof plain === 'object' && plain !== null ? (plain as Record<string, unknown>) : undefined
}

function lengths(data: Readonly<Record<string, unknown>>, name: string): Lengths {
  const number = (key: string) => (data[key] === undefined ? undefined : Number(data[key]))
  const mean = number(name)
  if (mean === undefined || !(mean > 0)) throw new UsageError(`Value error, data.${name} must be a positive number`)
  const rest = { stdev: number(`${name}_stdev`), min: number(`${name}_min`), max: number(`${name}_max`) }
  return { mean, ...Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined)) }
}
