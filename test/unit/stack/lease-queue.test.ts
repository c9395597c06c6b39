import { describe, expect, test } from '@jest/globals'
import {
  liveTickets,
  nextStep,
  type Situation,
  queueTiming as timing,
  withTicket,
} from '../../../src/stack/lease-queue.ts'
import { emptyRecord } from '../../../src/stack/lease-record.ts'

const now = 1_800_000_000_000
const ticket = (holder: string, ago: number, seenAgo = 0) => ({ holder, at: now - ago, seen: now - seenAgo })
const heldBy = (holder: string, renewedAgo: number) => ({
  ...emptyRecord,
  ...{ holder, renewedMs: now - renewedAgo, durationSeconds: 60, running: true },
})
const situation = (change: Partial<Situation>): Situation => ({
  ...{ record: heldBy('a', 1000), tickets: [], me: 'me', nowMs: now, sinceMs: now - 100 },
  ...change,
})
const step = (change: Partial<Situation>) => nextStep(situation(change), timing)

describe('the queue', () => {
  test('is in the order of arrival, without those who have not been seen for 60 s or come from the future', () => {
    const tickets = [ticket('c', 10), ticket('b', 20, 60_001), ticket('a', 30, 60_000), ticket('z', 99, -20_000)]
    expect(liveTickets(tickets, now, timing.ticketMs).map(t => t.holder)).toEqual(['a', 'c'])
  })
  test('a refreshed ticket replaces the old one and drops the dead', () => {
    const tickets = [ticket('me', 50, 20_000), ticket('dead', 90, 70_000), ticket('b', 10)]
    const next = withTicket(tickets, { holder: 'me', at: now - 50, seen: now }, timing.ticketMs)
    expect(next).toEqual([ticket('b', 10), ticket('me', 50)])
  })
  test('has an end: who finds it full waits without a ticket', () => {
    const tickets = Array.from({ length: 32 }, (_, i) => ticket(`w${i}`, i, 30_000))
    expect(withTicket(tickets, ticket('me', 0), timing.ticketMs)).toHaveLength(32)
    expect(step({ tickets })).toEqual({ kind: 'wait', untilMs: now + 30_001, place: 32, waiting: 33 })
  })
})

describe('the next step', () => {
  test('a Lease that is mine is taken, whoever waits', () => {
    expect(step({ record: heldBy('me', 1000), tickets: [ticket('b', 10)] }).kind).toBe('take')
  })
  test('while somebody holds it a ticket is drawn, then refreshed every 20 s', () => {
    expect(step({}).kind).toBe('ticket')
    expect(step({ tickets: [ticket('me', 500, 19_999)] })).toMatchObject({ kind: 'wait', untilMs: now + 2 })
    expect(step({ tickets: [ticket('me', 500, 20_000)] }).kind).toBe('ticket')
  })
  test('the wait ends when the Lease runs out, if that is sooner', () => {
    const tickets = [ticket('me', 500, 0)]
    const found = step({ tickets, record: heldBy('a', 55_000), sinceMs: now - 55_000 })
    expect(found).toEqual({ kind: 'wait', untilMs: now + 5000 + timing.marginMs + 1, place: 0, waiting: 1 })
  })
  test('one that has run out is taken by the first in the queue, not a moment before duration and margin are over', () => {
    const out = (ago: number) => step({ record: heldBy('a', ago), sinceMs: now - ago }).kind
    expect(out(60_000 + timing.marginMs)).toBe('ticket')
    expect(out(60_001 + timing.marginMs)).toBe('take')
  })
  test('those behind the first wait until its ticket has died', () => {
    const record = { ...heldBy('a', 90_000), holder: undefined }
    const tickets = [ticket('b', 900, 50_000), ticket('me', 500, 0)]
    expect(step({ record, tickets })).toEqual({ kind: 'wait', untilMs: now + 10_001, place: 1, waiting: 2 })
    expect(step({ record, tickets: [ticket('b', 900, 60_001), ticket('me', 500, 0)] }).kind).toBe('take')
    expect(step({ record, tickets, me: 'b' }).kind).toBe('take')
  })
  test('a deleted one is made anew by the first at once, by those behind only when nobody ahead did', () => {
    const tickets = [ticket('b', 900), ticket('c', 800), ticket('me', 500)]
    const absent = { record: undefined, tickets, sinceMs: now }
    expect(step({ ...absent, me: 'b' }).kind).toBe('create')
    expect(step(absent)).toMatchObject({ kind: 'wait', untilMs: now + 2 * timing.stepBackMs })
    expect(step({ ...absent, sinceMs: now - 2 * timing.stepBackMs }).kind).toBe('create')
    expect(step({ ...absent, tickets: [] }).kind).toBe('create')
  })
})
