import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { goDuration } from '../../../src/cluster/autoscaling.ts'

test.each([
  ['60s', 60_000],
  ['1m30s', 90_000],
  ['1h', 3_600_000],
  ['500ms', 500],
  ['1.5s', 1500],
  ['2m0.5s', 120_500],
  ['250us', 0.25],
  ['250µs', 0.25],
  ['1ns', 1e-6],
])('the Go duration %s is %p ms', (text, ms) => expect(goDuration(text)).toBeCloseTo(ms, 9))

test.each([
  '',
  '0s',
  '60',
  's',
  '60 s',
  ' 60s',
  '60s ',
  '60s\n',
  '-60s',
  '1d',
  '60sec',
  '1e3s',
  '1m 30s',
  '60S',
  'NaN',
  undefined,
])('%p is no interval', text => expect(goDuration(text)).toBeUndefined())

test('whatever stands there, an interval is a finite number above 0 or none', () => {
  fc.assert(
    fc.property(fc.string(), text => {
      const ms = goDuration(text)
      expect(ms === undefined || (ms > 0 && Number.isFinite(ms))).toBe(true)
    }),
  )
})
