import type { KubeObject } from './kube.ts'

/** A place in the queue for a Lease, kept in the Lease itself. Times in ms, the API server's clock. */
export interface Ticket {
  readonly holder: string
  /** When the holder began to wait: the order of the queue. */
  readonly at: number
  /** When it last said that it still waits. */
  readonly seen: number
}

/** A stack that somebody left behind: who built it, and the name that the Lease had for it. */
export interface PreviousStack {
  readonly holder: string
  readonly stack: string
}

/** What a Lease of ours says. Times are the API server's clock. */
export interface LeaseRecord {
  /** Undefined: free, whatever the times say. */
  readonly holder: string | undefined
  /** What the holder builds; undefined until it has cleared what it took over. */
  readonly stack: string | undefined
  /** Stacks of holders that died. Whoever holds the Lease removes them before it builds its own. */
  readonly toClear: readonly PreviousStack[]
  /** When the holder plans to be done, epoch seconds. */
  readonly plannedEnd: number | undefined
  /** A step renews it; false between steps, when it only lasts. */
  readonly running: boolean
  /** ms since the epoch. */
  readonly acquiredMs: number | undefined
  readonly renewedMs: number | undefined
  readonly durationSeconds: number
  readonly transitions: number
  readonly tickets: readonly Ticket[]
}

export const emptyRecord: LeaseRecord = {
  holder: undefined,
  stack: undefined,
  toClear: [],
  plannedEnd: undefined,
  running: false,
  acquiredMs: undefined,
  renewedMs: undefined,
  durationSeconds: 1,
  transitions: 0,
  tickets: [],
}

const annotation = {
  stack: 'llm-d.ai/bench-lease-stack',
  toClear: 'llm-d.ai/bench-lease-to-clear',
  plannedEnd: 'llm-d.ai/bench-lease-planned-end',
  running: 'llm-d.ai/bench-lease-running',
  tickets: 'llm-d.ai/bench-lease-tickets',
} as const

/** Longest that a Lease may last without a renewal: nobody's stack is kept for longer by an entry that went wrong. */
export const maxDurationSeconds = 7 * 24 * 3600
const maxTextLength = 300
const unprintable = /[\p{C}\u2028\u2029]/gu
const maxToClear = 16
export const maxTickets = 32
const maxJsonLength = 32 * 1024

/** Text that may become a holder or a stack: short, one line, no space around it, nothing that a terminal would obey. */
export const isLeaseText = (text: unknown): text is string =>
  typeof text === 'string' &&
  text !== '' &&
  text.length <= maxTextLength &&
  text.trim() === text &&
  text.search(unprintable) < 0

/** Reads a Lease. Its content comes from the cluster: what has not the right shape or size is taken for missing. */
export function readRecord(lease: KubeObject): LeaseRecord {
  const spec = (typeof lease.spec === 'object' && lease.spec !== null ? lease.spec : {}) as Record<string, unknown>
  const notes = lease.metadata.annotations ?? {}
  const plannedEnd = Number(notes[annotation.plannedEnd] ?? Number.NaN)
  const stack = notes[annotation.stack]
  return {
    holder: holderOf(spec.holderIdentity),
    stack: isLeaseText(stack) ? stack : undefined,
    toClear: readToClear(jsonList(notes[annotation.toClear])),
    plannedEnd: isEpochSeconds(plannedEnd) ? plannedEnd : undefined,
    running: notes[annotation.running] === 'true',
    acquiredMs: timeOf(spec.acquireTime),
    renewedMs: timeOf(spec.renewTime),
    durationSeconds: wholeBetween(spec.leaseDurationSeconds, 1, maxDurationSeconds),
    transitions: wholeBetween(spec.leaseTransitions, 0, 2 ** 30),
    tickets: readTickets(jsonList(notes[annotation.tickets])),
  }
}

/** A name that is no valid one is still somebody: it is made printable, and its last space makes it equal to no valid one. */
function holderOf(value: unknown): string | undefined {
  if (isLeaseText(value)) return value
  const text = typeof value === 'string' ? value.slice(0, maxTextLength).replace(unprintable, '?') : ''
  return text === '' ? undefined : `${text} `
}

function readToClear(entries: readonly unknown[]): PreviousStack[] {
  const found: PreviousStack[] = []
  for (const entry of entries.slice(0, maxToClear)) {
    const { holder, stack } = (entry ?? {}) as Partial<Record<string, unknown>>
    if (isLeaseText(holder) && isLeaseText(stack)) found.push({ holder, stack })
  }
  return found
}

/** Tickets as found in the cluster: entries without the right shape are dropped, one per holder is kept. */
function readTickets(entries: readonly unknown[]): Ticket[] {
  const tickets: Ticket[] = []
  for (const entry of entries.slice(0, maxTickets)) {
    const { holder, at, seen } = (entry ?? {}) as Partial<Record<string, unknown>>
    if (!isLeaseText(holder) || !isTime(at) || !isTime(seen) || tickets.some(t => t.holder === holder)) continue
    tickets.push({ holder, at, seen })
  }
  return tickets
}
const isTime = (value: unknown): value is number => typeof value === 'number' && value >= 0 && value < 8.64e15

function jsonList(text: unknown): readonly unknown[] {
  if (typeof text !== 'string' || text.length > maxJsonLength) return []
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) ? value : []
  } catch {
    return []
  }
}

const isEpochSeconds = (n: number): boolean => Number.isFinite(n) && n > 0 && n < 1e11
const timeOf = (value: unknown): number | undefined => {
  const ms = typeof value === 'string' && value.length < 64 ? Date.parse(value) : Number.NaN
  return Number.isFinite(ms) ? ms : undefined
}
const wholeBetween = (value: unknown, low: number, high: number): number =>
  Math.min(high, Math.max(low, Number.isInteger(value) ? (value as number) : low))

/** A `MicroTime`: the server takes six digits after the point, no more and no fewer. */
const microTime = (ms: number): string => new Date(ms).toISOString().replace('Z', '000Z')

/** The Lease that says `record`, as a change of `live`, or as a new object of that name. */
export function leaseObject(
  record: LeaseRecord,
  place: { name: string; namespace: string; labels: Readonly<Record<string, string>> },
  live?: KubeObject,
): KubeObject {
  const list = (entries: readonly unknown[]) => (entries.length === 0 ? undefined : JSON.stringify(entries))
  const notes: Record<string, string | undefined> = {
    ...live?.metadata.annotations,
    [annotation.stack]: record.stack,
    [annotation.toClear]: list(record.toClear),
    [annotation.plannedEnd]: record.plannedEnd === undefined ? undefined : String(record.plannedEnd),
    [annotation.running]: record.running ? 'true' : undefined,
    [annotation.tickets]: list(record.tickets),
  }
  const { holder, acquiredMs, renewedMs, durationSeconds, transitions } = record
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: {
      ...(live?.metadata ?? { name: place.name, namespace: place.namespace }),
      labels: { ...live?.metadata.labels, ...place.labels },
      annotations: Object.fromEntries(
        Object.entries(notes).filter((entry): entry is [string, string] => entry[1] !== undefined),
      ),
    },
    spec: {
      leaseDurationSeconds: durationSeconds,
      leaseTransitions: transitions,
      ...(holder === undefined ? {} : { holderIdentity: holder }),
      ...(acquiredMs === undefined ? {} : { acquireTime: microTime(acquiredMs) }),
      ...(renewedMs === undefined ? {} : { renewTime: microTime(renewedMs) }),
    },
  }
}

/** The Lease with another queue: a waiter changes nothing else in what is somebody else's. */
export function withQueue(live: KubeObject, tickets: readonly Ticket[]): KubeObject {
  const { [annotation.tickets]: _before, ...rest } = live.metadata.annotations ?? {}
  const queue: Record<string, string> = tickets.length === 0 ? {} : { [annotation.tickets]: JSON.stringify(tickets) }
  return { ...live, metadata: { ...live.metadata, annotations: { ...rest, ...queue } } }
}

/**
 * From when on (ms, server's clock) others may take the Lease. A renewal cannot be later than the moment it was first seen,
 * so a time from the future holds nobody up for ever; one that cannot be read has passed.
 */
export function expiryMs(record: LeaseRecord, seenMs: number, marginMs: number): number {
  if (record.renewedMs === undefined) return Number.NEGATIVE_INFINITY
  return Math.min(record.renewedMs, seenMs) + record.durationSeconds * 1000 + marginMs
}

export interface Claim {
  readonly holder: string
  readonly stack: string
  readonly durationSeconds: number
  readonly plannedEnd: number | undefined
}

/**
 * The record with which `claim` takes the Lease that said `before` at `nowMs`. A stack that was left behind, by a dead
 * holder or by an earlier claim of the same holder under another name, becomes a duty to clear; only a Lease without
 * duties names the new stack.
 */
export function claimed(before: LeaseRecord, claim: Claim, nowMs: number): LeaseRecord {
  const same = before.holder === claim.holder
  const left =
    before.stack !== undefined && !(same && before.stack === claim.stack)
      ? [{ holder: before.holder ?? 'unknown', stack: before.stack }]
      : []
  const toClear = [...before.toClear, ...left].filter(
    (p, i, all) => all.findIndex(q => q.holder === p.holder && q.stack === p.stack) === i,
  )
  return {
    holder: claim.holder,
    stack: toClear.length === 0 ? claim.stack : undefined,
    toClear,
    plannedEnd: claim.plannedEnd,
    running: true,
    acquiredMs: same ? (before.acquiredMs ?? nowMs) : nowMs,
    renewedMs: nowMs,
    durationSeconds: claim.durationSeconds,
    transitions: before.transitions + (same ? 0 : 1),
    tickets: before.tickets.filter(t => t.holder !== claim.holder),
  }
}
