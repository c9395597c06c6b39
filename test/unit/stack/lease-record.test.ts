import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { KubeObject } from '../../../src/stack/kube.ts'
import {
  claimed,
  emptyRecord,
  expiryMs,
  isLeaseText,
  type LeaseRecord,
  leaseObject,
  readRecord,
  withQueue,
} from '../../../src/stack/lease-record.ts'

const place = { name: 'lock', namespace: 'ns', labels: { 'llm-d.ai/bench-stack': 's' } }
const full: LeaseRecord = {
  holder: 'owner/repo/1/wva',
  stack: 'ns/stack',
  toClear: [{ holder: 'h', stack: 'ns/old' }],
  plannedEnd: 1_900_000_000,
  running: true,
  acquiredMs: 1_800_000_000_123,
  renewedMs: 1_800_000_060_456,
  durationSeconds: 60,
  transitions: 4,
  tickets: [{ holder: 'w', at: 1, seen: 2 }],
}
const claim = { holder: 'me', stack: 'ns/mine', durationSeconds: 60, plannedEnd: undefined }

describe('a Lease', () => {
  test('gives back what was written into it', () => {
    expect(readRecord(leaseObject(full, place))).toEqual(full)
    expect(readRecord(leaseObject(emptyRecord, place))).toEqual(emptyRecord)
  })
  test('has times with six digits, the only form that a server takes', () => {
    expect(leaseObject(full, place).spec).toMatchObject({ renewTime: '2027-01-15T08:01:00.456000Z' })
  })
  test('keeps foreign labels and annotations, its uid and its version when it is changed, and drops what is unset', () => {
    const live = leaseObject(full, place)
    Object.assign(live.metadata, { uid: 'u', resourceVersion: '7' })
    live.metadata.labels = { theirs: 'x' }
    live.metadata.annotations!.theirs = 'y'
    const { metadata, spec } = leaseObject({ ...emptyRecord, transitions: 4 }, place, live)
    expect(metadata).toMatchObject({ uid: 'u', resourceVersion: '7', labels: { theirs: 'x', ...place.labels } })
    expect(metadata.annotations).toEqual({ theirs: 'y' })
    expect(spec).toEqual({ leaseDurationSeconds: 1, leaseTransitions: 4 })
  })
  test('is read whatever is in it, to a record within bounds', () => {
    const text = fc.oneof(
      fc.string(),
      fc.json(),
      fc.constantFrom('[', '1e999', '-1', 'true', '\u001b[2J', 'x'.repeat(400)),
    )
    const notes = fc.dictionary(
      fc.constantFrom('stack', 'to-clear', 'planned-end', 'running', 'tickets').map(k => `llm-d.ai/bench-lease-${k}`),
      text,
    )
    const spec = fc.oneof(
      fc.anything(),
      fc.record(
        {
          holderIdentity: text,
          renewTime: fc.oneof(text, fc.date().map(String)),
          leaseDurationSeconds: fc.anything(),
          leaseTransitions: fc.anything(),
        },
        { requiredKeys: [] },
      ),
    )
    fc.assert(
      fc.property(notes, spec, (annotations, value) => {
        const object = {
          apiVersion: 'v1',
          kind: 'Lease',
          metadata: { name: 'x', annotations },
          spec: value,
        } as KubeObject
        const record = readRecord(object)
        for (const { holder, stack } of record.toClear) expect(isLeaseText(holder) && isLeaseText(stack)).toBe(true)
        for (const ticket of record.tickets) expect(isLeaseText(ticket.holder)).toBe(true)
        expect(record.toClear.length).toBeLessThanOrEqual(16)
        expect(record.tickets.length).toBeLessThanOrEqual(32)
        expect(record.durationSeconds).toBeGreaterThanOrEqual(1)
        expect(record.durationSeconds).toBeLessThanOrEqual(7 * 86_400)
        expect(record.holder ?? '').not.toMatch(/[\u0000-\u001f]/)
      }),
    )
  })
  test('a holder whose name is no valid one is still a holder, and nobody else', () => {
    const object = leaseObject({ ...full, holder: 'me\u0007' }, place)
    const { holder } = readRecord(object)
    expect(holder).toBe('me? ')
    expect(isLeaseText(holder)).toBe(false)
  })
  test('a waiter changes the queue in it and nothing else, be it readable or not', () => {
    const live = leaseObject({ ...full, holder: 'me\u0007' }, place)
    live.metadata.annotations!.theirs = 'y'
    const queued = withQueue(live, [{ holder: 'z', at: 3, seen: 4 }])
    expect(readRecord(queued).tickets).toEqual([{ holder: 'z', at: 3, seen: 4 }])
    expect(withQueue(queued, full.tickets)).toEqual(live)
    expect(withQueue(live, []).metadata.annotations).not.toHaveProperty(['llm-d.ai/bench-lease-tickets'])
  })
  test('lists in annotations are cut, and hold one ticket per waiter', () => {
    const ticket = (i: number) => ({ holder: `w${i % 40}`, at: i, seen: i })
    const object = leaseObject({ ...full, tickets: Array.from({ length: 80 }, (_, i) => ticket(i)) }, place)
    expect(readRecord(object).tickets).toHaveLength(32)
    const twice = leaseObject({ ...full, tickets: [ticket(1), { ...ticket(1), at: 99 }] }, place)
    expect(readRecord(twice).tickets).toEqual([ticket(1)])
  })
})

describe('the expiry', () => {
  test('is the last renewal, the duration and the margin', () => {
    expect(expiryMs(full, full.renewedMs! + 500, 2000)).toBe(full.renewedMs! + 62_000)
  })
  test('of a renewal from the future counts from when it was seen', () => {
    expect(expiryMs(full, full.renewedMs! - 3_600_000, 2000)).toBe(full.renewedMs! - 3_600_000 + 62_000)
  })
  test('has passed when no renewal can be read', () => {
    expect(expiryMs({ ...full, renewedMs: undefined }, 1, 2000)).toBe(Number.NEGATIVE_INFINITY)
  })
})

describe('a claim', () => {
  const dead = { ...full, toClear: [], holder: 'dead', stack: 'ns/dead' }
  test('of a Lease that says nothing names the own stack at once', () => {
    expect(claimed(emptyRecord, claim, 5)).toMatchObject({
      holder: 'me',
      stack: 'ns/mine',
      toClear: [],
      transitions: 1,
    })
  })
  test("of a dead holder's Lease makes its stack a duty and names no own stack yet", () => {
    const record = claimed(dead, claim, 5)
    expect(record).toMatchObject({ holder: 'me', stack: undefined, toClear: [{ holder: 'dead', stack: 'ns/dead' }] })
    expect(record).toMatchObject({ acquiredMs: 5, renewedMs: 5, transitions: 5, running: true })
  })
  test('keeps the duties that the dead holder had not fulfilled', () => {
    const record = claimed({ ...dead, stack: undefined, toClear: full.toClear }, claim, 5)
    expect(record).toMatchObject({ stack: undefined, toClear: full.toClear })
  })
  test('by the same holder keeps its stack and since when it holds', () => {
    const again = claimed({ ...dead, holder: 'me', stack: 'ns/mine' }, claim, 9e12)
    expect(again).toMatchObject({ stack: 'ns/mine', toClear: [], acquiredMs: full.acquiredMs, transitions: 4 })
  })
  test('by the same holder under another stack makes the old one a duty', () => {
    const again = claimed({ ...dead, holder: 'me', stack: 'ns/old' }, claim, 5)
    expect(again).toMatchObject({ stack: undefined, toClear: [{ holder: 'me', stack: 'ns/old' }] })
  })
  test('leaves the others in the queue', () => {
    const tickets = ['me', 'w'].map(holder => ({ holder, at: 1, seen: 1 }))
    expect(claimed({ ...dead, tickets }, claim, 5).tickets.map(t => t.holder)).toEqual(['w'])
  })
})
