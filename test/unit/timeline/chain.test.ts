import { expect, test } from '@jest/globals'
import type { WatchEvent } from '../../../src/results/schema.ts'
import { chainBreaks } from '../../../src/timeline/chain.ts'

const span = { from: 100_000, to: 400_000, blindMs: 60_000, toleratedMs: 20_000 }
type Decided = Extract<WatchEvent, { kind: 'VariantAutoscaling' }>
const decided = (at: number, lastRun: number): Decided => ({
  at: at * 1000,
  kind: 'VariantAutoscaling',
  type: 'MODIFIED',
  name: 'd',
  desired: 1,
  lastRun,
})
const hpa = (at: number, active: boolean, type: 'MODIFIED' | 'DELETED' = 'MODIFIED'): WatchEvent => ({
  at: at * 1000,
  kind: 'HorizontalPodAutoscaler',
  type,
  name: 'd',
  current: 1,
  desired: 1,
  active,
  limited: false,
})
const metric = (at: number, value: number | null): WatchEvent => ({
  at: at * 1000,
  kind: 'ExternalMetric',
  name: 'd',
  value,
})
const steady = [90, 130, 180, 230, 280, 330, 380].map(at => decided(at, at))
const links = (events: readonly WatchEvent[]) => chainBreaks(events, span).map(b => [b.link, b.at / 1000])

test('a chain that works has no break', () => {
  expect(links([...steady, hpa(90, true), metric(95, 1), metric(200, 2)])).toEqual([])
})

test('a decision that stands still for longer than allowed is a break, from the last one on', () => {
  expect(links([decided(90, 90), decided(130, 130)])).toEqual([['decision', 130]])
  expect(links([])).toEqual([['decision', 100]])
  expect(links([decided(90, 90), decided(155, 155), decided(210, 210), ...steady.slice(4)])).toEqual([
    ['decision', 210],
  ])
})

test('the same decision seen again does not count as a new one', () => {
  expect(
    links([
      decided(130, 130),
      decided(180, 130),
      decided(230, 130),
      decided(280, 280),
      decided(335, 335),
      decided(390, 390),
    ]),
  ).toEqual([['decision', 130]])
})

test('a VariantAutoscaling that is deleted under load is a break; before or after, it is none', () => {
  const gone = (at: number): Decided => ({ ...decided(at, at), type: 'DELETED' })
  expect(links([...steady, gone(200)])).toEqual([['decision', 200]])
  expect(links([...steady.slice(0, 3), gone(200)])).toEqual([['decision', 200]])
  expect(links([...steady.slice(0, 2), gone(200)])).toEqual([
    ['decision', 130],
    ['decision', 200],
  ])
  expect(links([gone(50), ...steady])).toEqual([])
  expect(links([...steady, gone(401)])).toEqual([])
})

test('an HPA without a metric is a break when it lasts', () => {
  expect(links([...steady, hpa(150, false), hpa(165, true)])).toEqual([])
  expect(links([...steady, hpa(150, false), hpa(171, true)])).toEqual([['hpa', 150]])
  expect(links([...steady, hpa(390, false)])).toEqual([])
  expect(links([...steady, hpa(50, false)])).toEqual([['hpa', 100]])
  expect(links([...steady, hpa(200, true, 'DELETED')])).toEqual([['hpa', 200]])
})

test('an external metric that is not served is a break when it lasts', () => {
  expect(links([...steady, metric(150, null), metric(155, null), metric(160, 1)])).toEqual([])
  expect(links([...steady, metric(150, null), metric(171, 1), metric(300, null), metric(310, 1)])).toEqual([
    ['external-metric', 150],
  ])
})

test('every break says for how long', () => {
  const [found] = chainBreaks([...steady, hpa(150, false), hpa(185, true)], span)
  expect(found?.why).toContain('for 35 s')
})
