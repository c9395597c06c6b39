import { createHash } from 'node:crypto'
import { parse, stringify } from 'yaml'
import { applyOverride, checkKeys, invalid, isMap } from './profile-keys.ts'
import { fillPlaceholders } from './profile-text.ts'

/** What a profile asks for, as far as planning and identity need it. */
export interface Workload {
  /** Name of the profile. */
  readonly profile: string
  /** Offered load of each step, requests per second. */
  readonly rates: readonly number[]
  readonly secondsPerRate: number
  /** Hash of everything but target, model and seed: equal hashes are the same workload. */
  readonly sha256: string
}

/** The reference's chatbot profile: constant rates, text completions, 4096 +- 2048 tokens in, 1024 +- 512 out. */
const chatbotSynthetic = `target: REPLACE_ENV_LLMDBENCH_HARNESS_STACK_ENDPOINT_URL
model: REPLACE_ENV_LLMDBENCH_DEPLOY_CURRENT_MODEL
request_type: text_completions
profile: constant
rate: [1,2,4,8]
max_seconds: 120
data:
  prompt_tokens_min: 10
  prompt_tokens_max: 8192
  prompt_tokens: 4096
  prompt_tokens_stdev: 2048
  output_tokens_min: 10
  output_tokens_max: 2048
  output_tokens: 1024
  output_tokens_stdev: 512
  samples: 1000
`

/**
 * The same requests in steps of ten minutes, up and down again: with the default windows an autoscaler of the chart needs
 * seven to eight minutes from saturation to a serving replica, which does not fit into the 120 s above.
 */
const chatbotAutoscaling = chatbotSynthetic
  .replace('rate: [1,2,4,8]', 'rate: [1,2,4,8,4,2,1]')
  .replace('max_seconds: 120', 'max_seconds: 600')

export const builtInProfiles: Readonly<Record<string, string>> = {
  chatbot_synthetic: chatbotSynthetic,
  chatbot_autoscaling: chatbotAutoscaling,
}

const maxRates = 64
const maxRate = 10_000
const maxSecondsPerRate = 86_400

/**
 * Renders a profile: placeholders filled, comments dropped, overrides applied to YAML keys, target, model and seed set.
 * @param template name of a built-in profile, or the text of one
 * @param overrides dotted path to value; lists and maps are values too
 * @throws UserError INPUT naming the unresolved placeholder, the unknown key, or what is missing
 */
export function renderProfile(
  template: string,
  variables: { readonly target: string; readonly model: string; readonly name?: string },
  overrides: Readonly<Record<string, unknown>>,
  extra: { readonly seed: number },
): { yaml: string; profile: Workload } {
  const builtIn = Object.hasOwn(builtInProfiles, template) ? builtInProfiles[template] : undefined
  const name = variables.name ?? (builtIn === undefined ? 'custom' : template)
  const values = {
    LLMDBENCH_HARNESS_STACK_ENDPOINT_URL: variables.target,
    LLMDBENCH_DEPLOY_CURRENT_MODEL: variables.model,
  }
  const written = readMap(fillPlaceholders(builtIn ?? template, values, name), name)
  checkKeys(written, name)
  // First, so that a profile without them, or with those of somebody's own machine, loads the stack that was asked for.
  const profile: Record<string, unknown> = { ...written, target: variables.target, model: variables.model }
  for (const [path, value] of Object.entries(overrides)) applyOverride(profile, path, value, name)
  profile.random_seed = extra.seed
  // guidellm 0.5 gives an answer up after 60 s: a slow server would look like a failing one. The setting of its
  // environment (GUIDELLM__REQUEST_TIMEOUT) does not reach the requests; this argument does.
  const kwargs =
    typeof profile.backend_kwargs === 'object' && profile.backend_kwargs !== null ? profile.backend_kwargs : {}
  profile.backend_kwargs = { timeout: Number(profile.max_seconds), ...kwargs }
  return { yaml: stringify(profile, { lineWidth: 0 }), profile: describeWorkload(profile, name) }
}

function readMap(text: string, name: string): Record<string, unknown> {
  let value: unknown
  try {
    value = parse(text, { maxAliasCount: 20 })
  } catch (cause) {
    throw invalid(name, `it is not YAML: ${(cause as Error).message.split('\n')[0] ?? 'syntax error'}`)
  }
  if (!isMap(value)) throw invalid(name, 'it is not a map')
  return value
}

function describeWorkload(profile: Readonly<Record<string, unknown>>, name: string): Workload {
  const { target: _target, model: _model, random_seed: _seed, ...identity } = profile
  if (profile.profile !== 'constant') {
    throw invalid(
      name,
      `its \`profile\` is ${JSON.stringify(profile.profile ?? null)}; only constant offers the same load whatever the server does`,
    )
  }
  const rates: unknown[] = Array.isArray(profile.rate) ? profile.rate : [profile.rate]
  if (
    rates.length === 0 ||
    rates.length > maxRates ||
    !rates.every((r): r is number => typeof r === 'number' && r > 0 && r <= maxRate)
  ) {
    throw invalid(
      name,
      `\`rate\` must be a list of 1 to ${maxRates} numbers above 0 (requests per second), not ${JSON.stringify(profile.rate ?? null)}`,
    )
  }
  const seconds = profile.max_seconds
  if (typeof seconds !== 'number' || !(seconds > 0 && seconds <= maxSecondsPerRate)) {
    throw invalid(name, `\`max_seconds\` must be a number above 0, not ${JSON.stringify(seconds ?? null)}`)
  }
  if (!isMap(profile.data)) throw invalid(name, '`data` must be a map: the keys of the data set, indented below it')
  return {
    profile: name,
    rates,
    secondsPerRate: seconds,
    sha256: createHash('sha256')
      .update(JSON.stringify(sorted(identity)))
      .digest('hex'),
  }
}

/** Keys in order, so that two texts of one meaning have one hash. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (!isMap(value)) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([k, v]) => [k, sorted(v)]),
  )
}

/** Seconds of load in one repeat, without the pauses that guidellm makes between rates. */
export const plannedSeconds = (workload: Workload): number => workload.rates.length * workload.secondsPerRate
