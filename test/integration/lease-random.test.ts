import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { type ApiServer, startApiServer } from '../sandbox/api/server.ts'
import { Contest, emptyTally } from './lease-contenders.ts'

/**
 * `LEASE_SEEDS=1-300` or `LEASE_SEEDS=7,9` runs others, `LEASE_SHOW=1` prints what happened. A seed fixes what is drawn, not
 * how the requests interleave.
 */
const seeds = seedsOf(process.env.LEASE_SEEDS ?? '1-24')
/** Contests at once. They wait most of the time. */
const width = Number(process.env.LEASE_WIDTH ?? 24)

function seedsOf(text: string): number[] {
  return text.split(',').flatMap(part => {
    const [from = 1, to = from] = part.split('-').map(Number)
    return Array.from({ length: to - from + 1 }, (_, i) => from + i)
  })
}

let server: ApiServer
beforeAll(async () => {
  server = await startApiServer({ bookmarkMs: 500 })
}, 30_000)
afterAll(() => server.close())

test('whatever is killed, cut off or late, no two own the lease at once, no stack is built on another, nobody waits for ever', async () => {
  const tally = emptyTally()
  const wrong: string[] = []
  const queue = [...seeds]
  let lagMs = 0
  let last = performance.now()
  const pulse = setInterval(() => {
    lagMs = Math.max(lagMs, performance.now() - last - 50)
    last = performance.now()
  }, 50)
  const drop = setInterval(() => server.faults.dropWatches(), 1700)
  const worker = async () => {
    for (let seed = queue.shift(); seed !== undefined; seed = queue.shift()) {
      const { violations, history } = await new Contest(server, seed, tally).run()
      if (process.env.LEASE_SHOW) process.stdout.write(`${history.join('\n')}\n`)
      if (violations.length > 0) wrong.push(`seed ${seed}: ${violations.join('; ')}\n  ${history.join('\n  ')}`)
    }
  }
  await Promise.all(Array.from({ length: width }, worker))
  clearInterval(pulse)
  clearInterval(drop)
  process.stdout.write(
    `lease contests: seeds ${process.env.LEASE_SEEDS ?? '1-24'}, ${seeds.length} runs, ${Object.entries(tally)
      .map(([what, n]) => `${n} ${what}`)
      .join(', ')}; longest stall of this process ${Math.round(lagMs)} ms\n`,
  )
  expect(wrong.join('\n')).toBe('')
  for (const [what, n] of Object.entries(tally)) expect({ what, some: n > 0 }).toEqual({ what, some: true })
}, 1_200_000)
