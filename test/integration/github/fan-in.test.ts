import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { type Comment, type CommentApi, isOurs, markerOf, settle } from '../../../src/github/comment-settle.ts'
import { fanIn } from '../../../src/github/fan-in.ts'
import { artifactName } from '../../../src/github/naming.ts'

const me = 'github-actions[bot]'
const marker = markerOf('k')

/** Comments and artifacts of one run behind a network whose every request and answer the scheduler may delay. */
function world(s: fc.Scheduler) {
  let nextId = 0
  let comments: Comment[] = []
  const artifacts: string[] = []
  let writes = 0
  /** Takes effect at one moment, answers at another. */
  const remote = async <T>(label: string, effect: () => T): Promise<T> => {
    await s.schedule(Promise.resolve(), `${label} sent`)
    const result = effect()
    await s.schedule(Promise.resolve(), `${label} answered`)
    return result
  }
  const api: CommentApi = {
    list: () => remote('list', () => [...comments]),
    create: body =>
      remote('create', () => {
        writes++
        const comment = { id: ++nextId, author: me, body, url: '' }
        comments = [...comments, comment]
        return comment
      }),
    update: (id, body) =>
      remote('update', () => {
        writes++
        const found = comments.find(c => c.id === id)
        if (found === undefined) return undefined
        const changed = { ...found, body }
        comments = comments.map(c => (c.id === id ? changed : c))
        return changed
      }),
    remove: id =>
      remote('remove', () => {
        comments = comments.filter(c => c.id !== id)
      }),
  }
  return {
    comments: () => comments,
    writes: () => writes,
    leg: (name: string) =>
      fanIn<string>({
        key: 'k',
        upload: () => remote('upload', () => void artifacts.push(name)),
        list: () => remote('list artifacts', () => [...artifacts]),
        fetchLeg: async n => n,
        render: legs => `${marker}\n${legs.join('\n')}`,
        post: async body => void (await settle(api, marker, me, body)),
      }),
  }
}

test('whatever the interleaving of 2 to 4 legs, there is one comment in the end and every leg is in it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 2, max: 4 }), fc.scheduler(), async (count, s) => {
      const w = world(s)
      const names = Array.from({ length: count }, (_, i) => artifactName('k', `leg-${i}`, 'run', 1))
      const all = Promise.all(names.map(w.leg))
      await s.waitFor(all)
      expect(w.comments().map(c => c.body)).toEqual([`${marker}\n${names.join('\n')}`])
    }),
    { numRuns: 1000 },
  )
})

test('a leg that comes later changes nothing but what is new, and a leg of the first attempt stays', async () => {
  const s = fc.sample(fc.scheduler(), 1)[0]!
  const w = world(s)
  await s.waitFor(w.leg('k.baseline.run.a1'))
  const before = w.writes()
  await s.waitFor(w.leg('k.wva.run.a2'))
  expect(w.writes() - before).toBe(1)
  expect(w.comments()[0]?.body).toBe(`${marker}\nk.baseline.run.a1\nk.wva.run.a2`)
})

test('a leg that cannot be read is left out and does not stop the others', async () => {
  const posted: string[] = []
  const { names } = await fanIn<string>({
    key: 'k',
    upload: async () => undefined,
    list: async () => ['k.baseline.run.a1', 'k.wva.run.a1', 'foreign'],
    fetchLeg: async n => (n.includes('wva') ? undefined : n),
    render: legs => legs.join(),
    post: async body => void posted.push(body),
  })
  expect(posted).toEqual(['k.baseline.run.a1'])
  expect(names).toEqual(['k.baseline.run.a1', 'k.wva.run.a1'])
})

test('only marker and author together make a comment ours', () => {
  const comment = (author: string | undefined, body: string): Comment => ({ id: 1, author, body, url: '' })
  expect(isOurs(comment(me, `${marker}\r\ntext`), marker, me)).toBe(true)
  expect(isOurs(comment('GitHub-Actions[bot]', `${marker}\ntext`), marker, me)).toBe(true)
  expect(isOurs(comment('github-actions', `${marker}\ntext`), marker, me)).toBe(false)
  expect(isOurs(comment(undefined, `${marker}\ntext`), marker, me)).toBe(false)
  expect(isOurs(comment(me, `> ${marker}\ntext`), marker, me)).toBe(false)
  expect(isOurs(comment(me, `text\n${marker}`), marker, me)).toBe(false)
  expect(isOurs(comment(me, `${markerOf('k2')}\n`), marker, me)).toBe(false)
})

test('a list that lags behind a create does not make a second comment', async () => {
  const created: string[] = []
  const api: CommentApi = {
    list: async () => [],
    create: async body => {
      created.push(body)
      return { id: 1, author: me, body, url: 'u' }
    },
    update: async () => undefined,
    remove: async () => undefined,
  }
  expect(await settle(api, marker, me, `${marker}\nx`)).toMatchObject({ kind: 'created', comment: { id: 1 } })
  expect(created).toHaveLength(1)
})
