import { UserError } from '../errors.ts'
import type { LeaseRecord } from '../stack/lease-record.ts'

/** The Lease that a lock is: one object, and the labels that it is made with. */
export interface LeaseRef {
  readonly namespace: string
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
}

export const leaseName = (ref: LeaseRef): string => `Lease ${ref.name} in namespace ${ref.namespace}`

/** The failure of everybody who wants a Lease that somebody else has: names the holder, since when, until when. */
export function locked(ref: LeaseRef, record: LeaseRecord | undefined, why: string): UserError {
  const { holder } = record ?? {}
  if (holder === undefined)
    return new UserError('LOCKED', `${leaseName(ref)} is held by nobody.`, { why, next: 'Run again.' })
  return new UserError('LOCKED', `${leaseName(ref)} is held by ${holder}${heldSince(record)}.`, {
    why,
    next: 'Run again after that, or end that run and remove its stack with mode: teardown.',
  })
}

/** ` since ..., planned until ...`; without a plan, until when it lasts if nobody renews it. */
export function heldSince(record: LeaseRecord | undefined): string {
  const { acquiredMs, plannedEnd, renewedMs, durationSeconds = 0, running } = record ?? {}
  const since = acquiredMs === undefined ? '' : ` since ${time(acquiredMs)}`
  if (plannedEnd !== undefined) return `${since}, planned until ${time(plannedEnd * 1000)}`
  if (running || renewedMs === undefined) return since
  return `${since}, until ${time(renewedMs + durationSeconds * 1000)}`
}

/** Hostile times are bounded when they are read, but may still be beyond what a date can show. */
const time = (ms: number): string =>
  Math.abs(ms) < 8.64e15 ? new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z') : 'an unknown time'
