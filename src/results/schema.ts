import { type Static, Type } from '@sinclair/typebox'
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler'
import { type Failure, failureCodes } from '../errors.ts'
import { ChainBreak, Reaction, Settled } from './autoscaling-schema.ts'
import { maxEvents, maxProblems, maxRepeats, maxSteps, maxText } from './limits.ts'
import { Step, WatchEvent } from './step-schema.ts'

export { ChainBreak, type ChainLink, chainLinks, Reaction, Settled } from './autoscaling-schema.ts'
export { RequestTotals, RowStatus, Rows, Step, WatchEvent } from './step-schema.ts'

// One source for static types, validation and the published JSON Schema. Everything is closed (no unknown fields) and
// bounded, because a leg is read back from an artifact that anybody with write access to the workflow could have made.
const closed = { additionalProperties: false }
const Text = Type.String({ maxLength: maxText })
const Name = Type.String({ minLength: 1, maxLength: 300 })
const Count = Type.Integer({ minimum: 0, maximum: 1_000_000_000 })
/** ISO 8601 with time zone. */
const Instant = Type.String({
  pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d+)?(Z|[+-]\\d{2}:\\d{2})$',
  maxLength: 40,
})
export const FailureRecord = Type.Object(
  {
    code: Type.Union(failureCodes.map(code => Type.Literal(code))),
    what: Text,
    why: Text,
    next: Text,
    evidence: Type.Array(Text, { maxItems: 500 }),
  },
  closed,
)
export type FailureRecord = Static<typeof FailureRecord>

/** The reference that was asked for, and the digest that ran. */
export const ImageRecord = Type.Object({ reference: Text, imageID: Type.Optional(Text) }, closed)
export type ImageRecord = Static<typeof ImageRecord>
const Images = Type.Record(Type.String({ maxLength: 300 }), ImageRecord, { maxProperties: 100 })

export const Repeat = Type.Object(
  {
    /** From 1. */
    index: Type.Integer({ minimum: 1, maximum: maxRepeats }),
    seed: Type.Integer(),
    startedAt: Instant,
    endedAt: Instant,
    status: Type.Union([Type.Literal('done'), Type.Literal('failed'), Type.Literal('cancelled')]),
    exitCode: Type.Optional(Type.Integer({ minimum: -1, maximum: 255 })),
    failure: Type.Optional(FailureRecord),
    /** The repeat did not start from the leg's start state. */
    carriedOver: Type.Boolean(),
    /** Harness clock minus runner clock, ms. */
    clockOffsetMs: Type.Optional(Type.Number({ minimum: -1e12, maximum: 1e12 })),
    startReplicas: Type.Optional(Count),
    settled: Type.Optional(Settled),
    /** Links of the autoscaling chain that broke while it was loaded: the repeat measured something else than WVA. */
    chainBreaks: Type.Optional(Type.Array(ChainBreak, { maxItems: 1000 })),
    guidellmVersion: Type.Optional(Name),
    images: Type.Optional(Images),
    steps: Type.Array(Step, { maxItems: maxSteps }),
    events: Type.Array(WatchEvent, { maxItems: maxEvents }),
  },
  closed,
)
export type Repeat = Static<typeof Repeat>

/** What the load was. Two legs with the same `sha256` and `seed` sent the same requests. */
export const WorkloadIdentity = Type.Object(
  {
    profile: Name,
    /** Of the rendered profile without target, model and seed. */
    sha256: Type.String({ pattern: '^[0-9a-f]{64}$', maxLength: 64 }),
    /** Requests per second, per harness pod. */
    rates: Type.Array(Type.Number({ exclusiveMinimum: 0 }), { minItems: 1, maxItems: maxSteps }),
    secondsPerRate: Type.Number({ exclusiveMinimum: 0 }),
    /** Repeat k uses `seed + k`, its pod j `seed + k + 1000 (j - 1)`. */
    seed: Type.Integer(),
    /** Repeats that were asked for. */
    repeats: Type.Integer({ minimum: 1, maximum: maxRepeats }),
    /** Harness pods at once. */
    parallelism: Type.Integer({ minimum: 1, maximum: 1000 }),
  },
  closed,
)
export type WorkloadIdentity = Static<typeof WorkloadIdentity>

/** Everything that must agree for two legs to be comparable. Absent where a stage ended before it was known. */
export const Identity = Type.Object(
  {
    model: Text,
    namespace: Name,
    wva: Type.Boolean(),
    wellLitPath: Type.Optional(Name),
    release: Type.Optional(Name),
    /** Replicas that a leg without WVA keeps. */
    replicas: Type.Optional(Count),
    /** Under WVA: ceiling and scaling behaviour of the HPA, and the controller that decided. */
    maxReplicas: Type.Optional(Count),
    hpaBehavior: Type.Optional(Text),
    wvaVersion: Type.Optional(Name),
    gpusPerReplica: Type.Optional(Count),
    accelerator: Type.Optional(Type.Object({ key: Name, value: Text }, closed)),
    settingsHash: Type.Optional(Name),
    images: Images,
    workload: Type.Optional(WorkloadIdentity),
    guidellmVersion: Type.Optional(Name),
    startupProbe: Type.Optional(
      Type.Object({ initialDelaySeconds: Count, periodSeconds: Count, failureThreshold: Count }, closed),
    ),
    slo: Type.Optional(
      Type.Object(
        {
          ttftMs: Type.Number({ minimum: 0 }),
          tpotMs: Type.Number({ minimum: 0 }),
          /** Fraction, 0 to 1. */
          attainment: Type.Number({ minimum: 0, maximum: 1 }),
        },
        closed,
      ),
    ),
    commit: Type.Optional(Name),
  },
  closed,
)
export type Identity = Static<typeof Identity>

/** The workflow run that measured; empty on the command line. */
export const RunReference = Type.Object(
  {
    repository: Type.Optional(Name),
    runId: Type.Optional(Type.Union([Name, Count])),
    sha: Type.Optional(Name),
    prNumber: Type.Optional(Count),
    jobName: Type.Optional(Name),
    url: Type.Optional(Text),
  },
  closed,
)
export type RunReference = Static<typeof RunReference>

/** `leg.json`: what one stage of one leg did, in one attempt of the workflow run. */
export const LegDocument = Type.Object(
  {
    schemaVersion: Type.Literal(1),
    key: Name,
    leg: Name,
    stage: Type.Union([Type.Literal('standup'), Type.Literal('run'), Type.Literal('teardown')]),
    attempt: Type.Integer({ minimum: 1, maximum: 10_000 }),
    createdAt: Instant,
    /** Measured on a cluster whose nodes say that they are simulated. */
    simulated: Type.Boolean(),
    status: Type.Union([Type.Literal('done'), Type.Literal('failed'), Type.Literal('cancelled')]),
    failure: Type.Optional(FailureRecord),
    identity: Identity,
    run: RunReference,
    /** Phase to seconds. */
    timings: Type.Record(Type.String({ maxLength: 100 }), Type.Number({ minimum: 0, maximum: 1e8 }), {
      maxProperties: 100,
    }),
    /** What the load generator was allowed, over its own defaults. */
    clientLimits: Type.Optional(
      Type.Object(
        { maxConcurrency: Type.Optional(Count), requestTimeoutSeconds: Type.Optional(Type.Number({ minimum: 0 })) },
        closed,
      ),
    ),
    /** Under WVA, of a run: whether it can react within a step at all. */
    reaction: Type.Optional(Reaction),
    /** Objects that should be gone and are not, `Kind namespace/name`. */
    leftovers: Type.Array(Text, { maxItems: 5000 }),
    /** Objects kept on purpose. */
    kept: Type.Array(Text, { maxItems: 5000 }),
    repeats: Type.Array(Repeat, { maxItems: maxRepeats }),
  },
  closed,
)
export type LegDocument = Static<typeof LegDocument>

/** JSON Schema of `leg.json`, for readers in other languages. */
export const legJsonSchema: Readonly<Record<string, unknown>> = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'leg.json of bench-action, version 1',
  ...JSON.parse(JSON.stringify(LegDocument)),
}

let compiled: TypeCheck<typeof LegDocument> | undefined

/**
 * Judges a value read from an artifact or from disk: the schema, and what a schema cannot say (columns of equal length,
 * repeats numbered once). Never throws; a leg that is not in `leg` must not be used.
 */
export function checkLeg(value: unknown): { readonly leg: LegDocument } | { readonly problems: readonly string[] } {
  compiled ??= TypeCompiler.Compile(LegDocument)
  if (!compiled.Check(value)) {
    const problems: string[] = []
    for (const error of compiled.Errors(value)) {
      problems.push(`${error.path.slice(0, 200) || '/'}: ${error.message}`)
      if (problems.length >= maxProblems) break
    }
    return { problems }
  }
  const problems: string[] = []
  const seen = new Set<number>()
  for (const repeat of value.repeats) {
    if (seen.has(repeat.index)) problems.push(`/repeats: repeat ${repeat.index} occurs twice`)
    seen.add(repeat.index)
    for (const [i, step] of repeat.steps.entries()) {
      const length = step.rows.scheduled.length
      for (const [name, cells] of Object.entries(step.rows)) {
        if (cells.length !== length)
          problems.push(`/repeats/${repeat.index}/steps/${i}/rows/${name}: ${cells.length} entries, not ${length}`)
      }
    }
    if (problems.length >= maxProblems) break
  }
  return problems.length > 0 ? { problems: problems.slice(0, maxProblems) } : { leg: value }
}

/** A failure as it goes into a leg: foreign text cut to what the schema takes. */
export function failureRecord(failure: Failure): FailureRecord {
  const cut = (text: string): string => text.slice(0, maxText)
  return {
    code: failure.code,
    what: cut(failure.what),
    why: cut(failure.why),
    next: cut(failure.next),
    evidence: failure.evidence.slice(0, 500).map(cut),
  }
}
