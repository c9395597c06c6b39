import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { ServerClock } from '../../../src/cluster/server-clock.ts'

/** A server and a client whose clocks are `skewMs` apart, and a network between them. */
function world(skewMs: number) {
  let trueMs = 1_800_000_000_000
  let serverAheadMs = 0
  const clock = new ServerClock(() => trueMs + skewMs)
  const ask = (thereMs: number, backMs: number) => {
    const sentAt = clock.own()
    trueMs += thereMs
    const date = new Date(trueMs + serverAheadMs).toUTCString()
    trueMs += backMs
    clock.learn(date, sentAt)
  }
  return {
    ...{ clock, ask },
    pass: (ms: number) => (trueMs += ms),
    set: (ms: number) => (serverAheadMs += ms),
    error: () => clock.now() - trueMs - serverAheadMs,
  }
}
const ms = (max: number) => fc.integer({ min: 0, max })

describe('the server clock', () => {
  test('before any answer it is the own clock', () => {
    expect(world(5000).error()).toBe(5000)
  })
  test('one answer tells it to half a second and half the round trip, whatever the own clock says', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -600_000, max: 600_000 }),
        ms(999),
        ms(3000),
        ms(3000),
        (skew, start, there, back) => {
          const w = world(skew)
          w.pass(start)
          w.ask(there, back)
          expect(Math.abs(w.error())).toBeLessThanOrEqual(500 + (there + back) / 2)
        },
      ),
    )
  })
  test('many answers at odd moments tell it better than the resolution of the header', () => {
    const w = world(-600_000)
    for (let i = 0; i < 40; i++) {
      w.ask(5, 5)
      w.pass(137)
    }
    expect(Math.abs(w.error())).toBeLessThan(100)
  })
  test('a slow answer does not spoil what fast ones told', () => {
    const w = world(0)
    for (let i = 0; i < 40; i++) {
      w.ask(5, 5)
      w.pass(137)
    }
    w.ask(30_000, 0)
    expect(Math.abs(w.error())).toBeLessThan(100)
  })
  test("when the server's clock is set, the next answer tells", () => {
    const w = world(0)
    w.ask(5, 5)
    w.set(60_000)
    w.pass(20)
    w.ask(5, 5)
    expect(Math.abs(w.error())).toBeLessThan(510)
  })
  test.each([undefined, '', 'soon', '0x'])('%p is no date and changes nothing', header => {
    const w = world(0)
    w.ask(5, 5)
    const before = w.error()
    w.clock.learn(header, w.clock.own())
    expect(w.error()).toBe(before)
  })
})
