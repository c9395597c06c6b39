import type { LegDocument } from './schema.ts'
import type { LegSummary } from './summarise.ts'

export interface MeasuredLeg {
  readonly document: LegDocument
  readonly summary: LegSummary
}

/** A field in which two legs disagree, and what each has; foreign text, to be escaped. */
export interface Difference {
  readonly field: string
  readonly values: readonly [string, string]
}

type Field = readonly [name: string, read: (leg: LegDocument) => string | undefined]
const notRecorded = 'not recorded'

/** What was asked of the server: with any of these different, two figures answer two questions. */
const workloadFields: readonly Field[] = [
  ['model', leg => leg.identity.model],
  ['load', ({ identity: { workload } }) => workload && `${workload.profile} ${workload.sha256.slice(0, 12)}`],
  ['seconds per rate', ({ identity: { workload } }) => text(workload?.secondsPerRate)],
  ['seed', ({ identity: { workload } }) => text(workload?.seed)],
  ['harness pods', ({ identity: { workload } }) => text(workload?.parallelism)],
  ['simulated', leg => (leg.simulated ? 'yes' : 'no')],
]
/** What served it. Named beside the figures; that a matrix varies one of them on purpose cannot be seen here. */
const stackFields: readonly Field[] = [
  ['stack', leg => leg.identity.wellLitPath],
  ['stack settings', leg => leg.identity.settingsHash],
  ['GPU nodes', ({ identity: { accelerator } }) => accelerator && `${accelerator.key}=${accelerator.value}`],
  ['GPUs per replica', leg => text(leg.identity.gpusPerReplica)],
  ['guidellm', leg => leg.identity.guidellmVersion],
  ['targets', ({ identity: { slo } }) => slo && `${slo.ttftMs} ms, ${slo.tpotMs} ms, ${slo.attainment * 100} %`],
  ['requests in flight', leg => text(leg.clientLimits?.maxConcurrency)],
  ['read time-out', leg => text(leg.clientLimits?.requestTimeoutSeconds)],
  ['commit', leg => leg.run.sha],
]
const text = (value: number | undefined): string | undefined => (value === undefined ? undefined : String(value))

/**
 * Why two legs did not measure the same workload: model, profile, seed, rates position by position. A load that one of
 * them did not record is not known to be the same. Empty: their figures can stand side by side.
 */
export function workloadDifferences(a: MeasuredLeg, b: MeasuredLeg): Difference[] {
  const found = differences(workloadFields, a.document, b.document, true)
  const rates = [a, b].map(({ summary }) => new Map(summary.steps.map(step => [step.index, step.rate])))
  const [ofA, ofB] = [rates[0]!, rates[1]!]
  const shared = [...ofA.keys()].filter(index => ofB.has(index))
  if (shared.length === 0 || shared.some(index => ofA.get(index) !== ofB.get(index)))
    found.push({ field: 'rates', values: [listed(ofA), listed(ofB)] })
  if (found.length === 0 && a.document.identity.workload === undefined)
    found.push({ field: 'load', values: [notRecorded, notRecorded] })
  return found
}

/** What else differs, of what both have on record; images by the digest that ran, where both know it. */
export function stackDifferences(a: LegDocument, b: LegDocument): Difference[] {
  const images = Object.keys(a.identity.images)
    .filter(name => Object.hasOwn(b.identity.images, name))
    .sort()
    .flatMap((name): Difference[] => {
      const [x, y] = [a.identity.images[name]!, b.identity.images[name]!]
      const digests = [x, y].map(image => /sha256:[0-9a-f]{64}/.exec(image.imageID ?? '')?.[0])
      const same = digests[0] && digests[1] ? digests[0] === digests[1] : x.reference === y.reference
      if (same) return []
      const shown =
        x.reference === y.reference ? digests.map(digest => digest!.slice(0, 19)) : [x.reference, y.reference]
      return [{ field: `image ${name}`, values: [shown[0]!, shown[1]!] }]
    })
  return [...differences(stackFields, a, b, false), ...images]
}

function differences(fields: readonly Field[], a: LegDocument, b: LegDocument, mustBeKnown: boolean): Difference[] {
  return fields.flatMap(([field, read]) => {
    const [x, y] = [read(a), read(b)]
    if (x === y || (!mustBeKnown && (x === undefined || y === undefined))) return []
    return [{ field, values: [x ?? notRecorded, y ?? notRecorded] as const }]
  })
}

const listed = (rates: ReadonlyMap<number, number>): string => [...rates.values()].slice(0, 12).join(', ') || 'none'

/** Legs that measured the same workload, in the order given; the first of a group is what the others stand beside. */
export function sameWorkload<Leg extends { readonly measured: MeasuredLeg }>(legs: readonly Leg[]): Leg[][] {
  const groups: Leg[][] = []
  for (const leg of legs) {
    const found = groups.find(([first]) => workloadDifferences(first!.measured, leg.measured).length === 0)
    if (found === undefined) groups.push([leg])
    else found.push(leg)
  }
  return groups
}
