import { expect, test } from '@jest/globals'
import { count, duration, figure, share, table, written } from '../../../src/report/format.ts'
import { assemble } from '../../../src/report/sections.ts'
import { sparkline } from '../../../src/report/sparkline.ts'

test.each([
  [null, '–'],
  [Number.NaN, '–'],
  [0, '0'],
  [7, '7'],
  [81.0003, '81.0'],
  [0.5648, '0.565'],
  [0.05, '0.0500'],
  [0.00001, '<0.001'],
  [99.96, '100'],
  [143.4, '143'],
  [999.6, '1,000'],
  [1234.5, '1,230'],
  [1_234_567, '1,230,000'],
  [-12.34, '−12.3'],
])('figure(%p) is %s', (value, text) => {
  expect(figure(value)).toBe(text)
})

test('counts are whole and in full; rates are as short as they were written', () => {
  expect([count(null), count(0), count(1_852), count(1_234_567)]).toEqual(['–', '0', '1,852', '1,234,567'])
  expect([written(1), written(0.5), written(2.50001), written(12_000)]).toEqual(['1', '0.5', '2.5', '12,000'])
})

test('a share is 100 % only when nothing is missing', () => {
  expect([share(1, 1), share(9999, 10_000), share(908, 1000), share(0, 5), share(101, 100)]).toEqual([
    '100 %',
    '99.9 %',
    '90.8 %',
    '0 %',
    '101 %',
  ])
})

test('the bars of a line are full at the highest value, and nothing above 0 looks like 0', () => {
  expect(sparkline([null, 0, 0.01, 1, 2, 5, 10, 12], 10)).toBe(' .▁▁▂▄██')
  expect(sparkline([0, 0], 0)).toBe('..')
})

test('durations', () => {
  expect([0.25, 8.44, 59, 372, 3599.7, 3900].map(duration)).toEqual([
    '0.25 s',
    '8.44 s',
    '59 s',
    '6 m 12 s',
    '1 h 00 m',
    '1 h 05 m',
  ])
})

test('a table has a rule that aligns numbers to the right', () => {
  expect(table(['a', 'b'], [['x', '1']])).toBe('| a | b |\n|:--|--:|\n| x | 1 |')
})

const part = (size: number, shed?: number, name?: string) => ({
  text: 'x'.repeat(size),
  ...(shed === undefined ? {} : { shed }),
  ...(name === undefined ? {} : { name }),
})

test('what is too long is shed in order, and the text says what is missing', () => {
  const sections = [part(1000), part(3000, 2, 'second'), part(3000, 1, 'first'), part(1000)]
  expect(assemble(sections, 9000)).not.toContain('Left out')
  const once = assemble(sections, 6000)
  expect(once).toContain('limited to 6 kB: first. All of it')
  const twice = assemble(sections, 2500)
  expect(twice).toContain('first, second')
  expect(Buffer.byteLength(twice)).toBeLessThanOrEqual(2500)
})

test('what must stay is cut at a line end when nothing else helps, in bytes and not in characters', () => {
  const text = assemble([{ text: Array.from({ length: 100 }, () => '日本日本').join('\n') }], 500)
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(500)
  expect(text.endsWith('日本日本\n…\n')).toBe(true)
})
