import { UserError } from '../errors.ts'
import { nearest } from '../nearest.ts'

/** What guidellm 0.4 and 0.5 read from a scenario file; both ignore any other key without a word. */
const topKeys: ReadonlySet<string> = new Set([
  'target',
  'model',
  'request_type',
  'data_request_formatter',
  'profile',
  'rate',
  'max_seconds',
  'data',
  'data_args',
  'data_samples',
  'data_column_mapper',
  'data_collator',
  'data_sampler',
  'data_num_workers',
  'dataloader_kwargs',
  'backend',
  'backend_kwargs',
  'processor',
  'processor_args',
  'random_seed',
  'sample_requests',
  'warmup',
  'cooldown',
  'rampup',
  'prefer_response_metrics',
  'max_requests',
  'max_errors',
  'max_error_rate',
  'max_global_error_rate',
  'over_saturation',
])
const dataKeys: ReadonlySet<string> = new Set([
  ...['prompt_tokens', 'output_tokens'].flatMap(name => [name, `${name}_stdev`, `${name}_min`, `${name}_max`]),
  'prefix_buckets',
  'source',
  'samples',
])
/** Keys that something else decides; the value says what. */
const decidedElsewhere: Readonly<Record<string, string>> = {
  target: 'the endpoint of the stack; see the input endpoint',
  model: 'the model that the endpoint serves; see the input model',
  random_seed: 'the input seed plus the number of the repeat',
}

/**
 * Sets `a.b.c` in a profile. A key that guidellm would not read is refused, because it would be ignored silently.
 * @throws UserError INPUT
 */
export function applyOverride(profile: Record<string, unknown>, path: string, value: unknown, name: string): void {
  const keys = path.split('.')
  const [top = ''] = keys
  if (Object.hasOwn(decidedElsewhere, top)) {
    throw refused(path, `\`${top}\` is ${decidedElsewhere[top]}`, 'Leave it out of workload-overrides.')
  }
  let at = profile
  for (const [i, key] of keys.entries()) {
    const known = knownBelow(keys.slice(0, i), at)
    if (known !== undefined && !known.includes(key)) {
      const near = nearest(key, known)
      throw refused(
        path,
        `${name} has no key \`${key}\` ${i === 0 ? 'at the top' : `below ${keys.slice(0, i).join('.')}`}${near === undefined ? '' : `; did you mean \`${[...keys.slice(0, i), near].join('.')}\`?`}`,
        `Known there: ${known.join(', ')}.`,
      )
    }
    if (i === keys.length - 1) {
      at[key] = value
      return
    }
    const next = at[key]
    if (!isMap(next)) {
      throw refused(
        path,
        `\`${keys.slice(0, i + 1).join('.')}\` is ${JSON.stringify(next ?? null)}, not a map`,
        'Write the dotted path of a key that the profile has, e.g. data.prompt_tokens.',
      )
    }
    at = next
  }
}

/** Undefined where any key is allowed: below what guidellm hands on as it is. */
function knownBelow(path: readonly string[], at: Readonly<Record<string, unknown>>): string[] | undefined {
  if (path.length === 0)
    return [...topKeys, ...Object.keys(at).filter(key => !topKeys.has(key))].filter(
      key => !Object.hasOwn(decidedElsewhere, key),
    )
  if (path.length === 1 && path[0] === 'data') return [...dataKeys]
  return undefined
}

/**
 * Refuses keys of a profile that would be ignored, that belong to another guidellm, or that would publish a credential.
 * @throws UserError INPUT
 */
export function checkKeys(profile: Readonly<Record<string, unknown>>, name: string): void {
  if ('spec' in profile)
    throw invalid(name, 'it is written for guidellm 0.7 (`spec:`); the harness runs the flat form of 0.4 and 0.5')
  for (const key of Object.keys(profile).map(k => k.replaceAll('-', '_'))) {
    if (topKeys.has(key)) continue
    if (dataKeys.has(key)) throw invalid(name, `\`${key}\` stands at the top and belongs below \`data:\`, indented`)
    const near = nearest(key, [...topKeys])
    throw invalid(
      name,
      `guidellm does not know its key \`${key}\`${near === undefined ? '' : `; did you mean \`${near}\`?`}`,
    )
  }
  if (
    isMap(profile.backend_kwargs) &&
    Object.keys(profile.backend_kwargs).some(key => /key|token|auth|password/i.test(key))
  ) {
    throw invalid(name, 'its backend_kwargs hold a credential, which everybody could read in a ConfigMap')
  }
  if (isMap(profile.data)) {
    for (const key of Object.keys(profile.data)) {
      if (dataKeys.has(key)) continue
      const near = nearest(key, [...dataKeys])
      throw invalid(
        name,
        `guidellm does not know its key \`data.${key}\`${near === undefined ? '' : `; did you mean \`data.${near}\`?`}`,
      )
    }
  }
}

const refused = (path: string, why: string, next: string): UserError =>
  new UserError('INPUT', `The workload override ${JSON.stringify(path)} cannot be applied.`, {
    why: `${why}.`.replace(/\?\.$/, '?'),
    next,
  })

export const invalid = (name: string, why: string): UserError =>
  new UserError('INPUT', `The workload profile ${JSON.stringify(name)} cannot be used.`, {
    why: `${why}.`.replace(/\?\.$/, '?'),
    next: 'Compare it with the built-in chatbot_synthetic: `mode: run` with `dry-run: true` writes it to plan.yaml.',
  })

export const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
