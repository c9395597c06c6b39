import { UserError } from '../errors.ts'
import { nearest } from '../nearest.ts'
import type { PathSettings } from '../stack/spec.ts'

type Settings = Readonly<Record<string, unknown>>

/** Settings that are not simply text or a whole number of 1 or more. */
const rules: Readonly<Record<string, { readonly test: (v: unknown) => boolean; readonly what: string }>> = {
  gpuMemoryUtilization: { test: v => typeof v === 'number' && v > 0 && v <= 1, what: 'a fraction above 0, at most 1' },
  'startupProbe.initialDelaySeconds': { test: v => Number.isSafeInteger(v) && Number(v) >= 0, what: 'whole seconds' },
  ...Object.fromEntries(
    ['cpu', 'memory', 'shm', 'harness.cpu', 'harness.memory'].map(key => [
      key,
      // https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
      {
        test: (v: unknown) => typeof v === 'string' && /^\d+(\.\d+)?(m|[kMGTPE]|[KMGTPE]i)?$/.test(v),
        what: 'a quantity such as 16, 500m or 64Gi',
      },
    ]),
  ),
}

/**
 * Patches a path's settings with the user's YAML, key by key: maps are merged, everything else replaces. A key that the
 * settings do not have, or a value of another type, is refused; all problems are reported at once.
 * @throws UserError INPUT, one line of evidence per problem.
 */
export function applyOverrides(settings: PathSettings, overrides: unknown): PathSettings {
  const problems: string[] = []
  const merged = isMap(overrides ?? {})
    ? merge(settings as unknown as Settings, (overrides ?? {}) as Settings, '', problems)
    : settings
  if (!isMap(overrides ?? {})) problems.push('The whole must be a YAML map of settings.')
  if (problems.length > 0) {
    throw new UserError('INPUT', `The input overrides has ${problems.length} problem(s).`, {
      why: problems.join(' '),
      next: `Use the keys of the settings: ${Object.keys(settings).join(', ')}; docs/overrides.md shows all of them with their defaults.`,
      evidence: problems,
    })
  }
  return merged as unknown as PathSettings
}

function merge(base: Settings, patch: Settings, at: string, problems: string[]): Settings {
  const merged = new Map(Object.entries(base))
  for (const [key, value] of Object.entries(patch)) {
    const where = at === '' ? key : `${at}.${key}`
    const known = merged.get(key)
    if (known === undefined) {
      const near = nearest(key, Object.keys(base))
      problems.push(`\`${where}\` is not a setting${near === undefined ? '.' : `; did you mean \`${near}\`?`}`)
    } else if (where === 'env') merged.set(key, { ...(known as object), ...environment(value, problems) })
    else if (isMap(known)) {
      if (isMap(value)) merged.set(key, merge(known, value, where, problems))
      else problems.push(`\`${where}\` must be a map.`)
    } else {
      const next = replacement(known, value)
      const rule = rules[where] ?? ruleOf(known)
      if (rule.test(next)) merged.set(key, next)
      else problems.push(`\`${where}\` must be ${rule.what}, not ${shown(value)}.`)
    }
  }
  return Object.fromEntries(merged)
}

/** YAML reads `cpu: 8` and `- 256` as numbers where text is meant. */
function replacement(known: unknown, value: unknown): unknown {
  if (typeof known === 'string' && typeof value === 'number') return String(value)
  if (Array.isArray(known) && Array.isArray(value)) return value.map(v => (typeof v === 'number' ? String(v) : v))
  return value
}

function ruleOf(known: unknown): { test: (v: unknown) => boolean; what: string } {
  if (Array.isArray(known)) {
    return { test: v => Array.isArray(v) && v.every(word => typeof word === 'string'), what: 'a list of strings' }
  }
  if (typeof known === 'number') {
    return { test: v => Number.isSafeInteger(v) && Number(v) >= 1, what: 'a whole number, 1 or more' }
  }
  return { test: v => typeof v === 'string' && v !== '', what: 'text' }
}

const tokenNames = ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN']

function environment(value: unknown, problems: string[]): Record<string, string> {
  if (!isMap(value)) {
    problems.push('`env` must be a map.')
    return {}
  }
  const fine = Object.entries(value).filter(([name, text]) => {
    if (tokenNames.includes(name)) {
      problems.push(`\`env.${name}\` would put the token into the plan in clear: give it with the input \`hf-token\`.`)
    } else if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
      problems.push(`\`env.${name}\` is not a name that a shell can export.`)
    else if (!['string', 'number', 'boolean'].includes(typeof text)) problems.push(`\`env.${name}\` must be text.`)
    else return true
    return false
  })
  return Object.fromEntries(fine.map(([name, text]) => [name, String(text)]))
}

const isMap = (v: unknown): v is Settings => typeof v === 'object' && v !== null && !Array.isArray(v)

const shown = (value: unknown): string => (JSON.stringify(value) ?? 'nothing').slice(0, 80)
