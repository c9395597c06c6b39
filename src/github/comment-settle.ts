/** A comment as far as it matters here. */
export interface Comment {
  readonly id: number
  /** Login of its author; undefined for a deleted account. */
  readonly author: string | undefined
  readonly body: string
  readonly url: string
}

/** What can be done to the comments of one pull request. `undefined` answers a comment that is gone. */
export interface CommentApi {
  list(): Promise<readonly Comment[]>
  /** `unknown`: the request failed in a way that leaves open whether the comment exists. */
  create(body: string): Promise<Comment | 'unknown'>
  update(id: number, body: string): Promise<Comment | undefined>
  remove(id: number): Promise<void>
}

export type Settled =
  | {
      readonly kind: 'created' | 'updated' | 'unchanged'
      readonly comment: Comment
      /** Ids of surplus comments that were removed. */
      readonly removed: readonly number[]
    }
  /** Whatever was found or created was gone again at the next look. */
  | { readonly kind: 'unsettled' }

/** First line of our comment; nobody else's text starts with it by accident. */
export const markerOf = (key: string): string => `<!-- llm-d-bench key="${key}" v1 -->`

const normal = (body: string): string => body.replaceAll('\r\n', '\n').trimEnd()

/** Ours: the marker is the whole first line, and the author is us. Anybody can copy a marker, nobody can be another author. */
export function isOurs(comment: Comment, marker: string, login: string): boolean {
  return comment.author?.toLowerCase() === login.toLowerCase() && comment.body.split(/\r?\n/, 1)[0] === marker
}

const maxRounds = 6

/**
 * Brings the pull request to exactly one comment of ours with this text. The lowest id wins, so that two legs that
 * create at the same moment agree on which stays; it is written before any duplicate is removed, so that a step that
 * is killed in between leaves the text.
 *
 * @param login who we are; a different author in the answer of a create corrects it.
 * @throws whatever `api` throws.
 */
export async function settle(api: CommentApi, marker: string, login: string, body: string): Promise<Settled> {
  let author = login
  let created: Comment | undefined
  let tried = false
  for (let round = 0; round < maxRounds; round++) {
    const listed = await api.list()
    // A list may lag behind a create; without this line that would make a second comment.
    const known = created === undefined || listed.some(c => c.id === created?.id) ? listed : [...listed, created]
    const ours = known.filter(c => isOurs(c, marker, author)).sort((a, b) => a.id - b.id)
    const [first, ...surplus] = ours
    if (first === undefined) {
      tried = true
      const answer = await api.create(body)
      if (answer !== 'unknown') {
        created = answer
        author = answer.author ?? author
      }
      continue
    }
    const same = normal(first.body) === normal(body)
    const kept = same ? first : await api.update(first.id, body)
    if (kept === undefined) {
      created = undefined
      continue
    }
    for (const { id } of surplus) await api.remove(id)
    const isNew = created === undefined ? tried && same : created.id === first.id
    return { kind: isNew ? 'created' : same ? 'unchanged' : 'updated', comment: kept, removed: surplus.map(c => c.id) }
  }
  return { kind: 'unsettled' }
}
