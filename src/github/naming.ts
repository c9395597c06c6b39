import { createHash } from 'node:crypto'

/** What an artifact is about: one document per stage for the comment, and the bulky files of a run. */
export const artifactStages = ['standup', 'run', 'teardown', 'results'] as const
export type ArtifactStage = (typeof artifactStages)[number]

export interface ArtifactId {
  readonly key: string
  readonly leg: string
  readonly stage: ArtifactStage
  /** Run attempt of GitHub, from 1. */
  readonly attempt: number
  /** 1, or more when an earlier upload of the same attempt broke off and left its name taken. */
  readonly upload: number
}

const maxSlug = 60

const hex = (text: string, digits: number): string => createHash('sha256').update(text).digest('hex').slice(0, digits)

/** Lower-case letters, digits and single dashes, at most `max` characters: safe in file names, labels and HTML comments. */
function slug(text: string, max = maxSlug): string {
  const plain = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
  return plain.length <= max ? plain : `${plain.slice(0, max - 7).replace(/-+$/, '')}-${hex(text, 6)}`
}

/**
 * Name of a leg: the values of its matrix, sorted by name of the dimension, joined by `_`; without a matrix `wva` or
 * `baseline`. Legs of one matrix never share a name: what a slug would lose comes back as four hex digits.
 *
 * @param matrix what `toJSON(matrix)` gave, parsed or not; null and undefined mean that there is none.
 * @param wva whether the model is under the autoscaler; undefined where a mode does not know.
 */
export function legName(matrix: unknown, wva: boolean | undefined): string {
  const values = Object.entries(asMatrix(matrix))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => dimension(name, value))
    .filter(text => text !== '')
  if (values.length === 0) return wva === true ? 'wva' : 'baseline'
  const name = values.join('_')
  return name.length <= maxSlug ? name : `${name.slice(0, maxSlug - 7).replace(/[-_]+$/, '')}-${hex(name, 6)}`
}

function asMatrix(matrix: unknown): object {
  let value = matrix
  if (typeof matrix === 'string') {
    try {
      value = JSON.parse(matrix)
    } catch {
      return {}
    }
  }
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {}
}

function dimension(name: string, value: unknown): string {
  if (value === null || value === undefined) return ''
  if (name === 'wva' && (value === true || value === 'true')) return 'wva'
  if (name === 'wva' && (value === false || value === 'false')) return 'baseline'
  if (typeof value === 'boolean') return value ? slug(name) : `no-${slug(name)}`
  if (typeof value === 'number') return distinct(`${slug(name)}-${slug(String(value))}`, `${slug(name)}-${value}`)
  if (typeof value === 'string') return distinct(slug(value), value)
  return `${slug(name)}-${hex(JSON.stringify(value), 6)}`
}

const distinct = (readable: string, exact: string): string =>
  readable === exact ? readable : `${readable}-${hex(exact, 4)}`.replace(/^-/, '')

/**
 * What belongs into one comment: profile and model to read, and six hex digits of workflow and pull request, so that
 * two workflows, or two pull requests, never write into each other's.
 */
export function keyOf(of: {
  readonly profile: string
  readonly model: string
  readonly workflow: string
  readonly prNumber?: number
}): string {
  return `${slug(`${of.profile}-${of.model}`)}-${hex(`${of.workflow}\0${of.prNumber ?? ''}`, 6)}`
}

/** Who owns a stack that a workflow run stands up: all attempts and all steps of one leg. */
export const holderOf = (run: { readonly repository: string; readonly runId: number }, leg: string): string =>
  `${run.repository}/${run.runId}/${leg}`

/** `<key>.<leg>.<stage>.a<attempt>`, from the second upload of an attempt on with `-<upload>`. */
export function artifactName(key: string, leg: string, stage: ArtifactStage, attempt: number, upload = 1): string {
  return `${key}.${leg}.${stage}.a${attempt}${upload === 1 ? '' : `-${upload}`}`
}

/** The parts of a name that `artifactName` made; undefined for any other artifact of the run. */
export function parseArtifactName(name: string): ArtifactId | undefined {
  const match = /^([a-z0-9-]{1,80})\.([a-z0-9_-]{1,80})\.([a-z]+)\.a([1-9]\d{0,5})(?:-([2-9]))?$/.exec(name)
  const [, key, leg, word, attempt, upload] = match ?? []
  const stage = artifactStages.find(s => s === word)
  if (key === undefined || leg === undefined || stage === undefined) return undefined
  return { key, leg, stage, attempt: Number(attempt), upload: Number(upload ?? 1) }
}

/**
 * The newest artifact of every leg and stage that belongs to `key`, sorted by leg and stage; `results` are left out
 * unless asked for.
 */
export function newest(
  names: readonly string[],
  key: string,
  stages: readonly ArtifactStage[] = ['standup', 'run', 'teardown'],
): string[] {
  const best = new Map<string, { name: string; id: ArtifactId }>()
  for (const name of names) {
    const id = parseArtifactName(name)
    if (id === undefined || id.key !== key || !stages.includes(id.stage)) continue
    const slot = `${id.leg}.${stages.indexOf(id.stage)}`
    const other = best.get(slot)?.id
    if (other === undefined || id.attempt > other.attempt || (id.attempt === other.attempt && id.upload > other.upload))
      best.set(slot, { name, id })
  }
  return [...best].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, { name }]) => name)
}
