import { newest } from './naming.ts'

/** The effects of a fan-in, as values: the network behind them is somebody else's. */
export interface FanIn<Leg> {
  /** Only artifacts of this key take part. */
  readonly key: string
  /** Makes our own artifact visible to the other legs; the first thing that happens. */
  upload(): Promise<void>
  /** Names of all artifacts of the workflow run that can be seen now. */
  list(): Promise<readonly string[]>
  /** One leg's document; undefined when it is gone or not to be trusted. */
  fetchLeg(name: string): Promise<Leg | undefined>
  /** Pure: equal legs give equal bytes, whoever renders. */
  render(legs: readonly Leg[]): string
  post(body: string): Promise<void>
}

/** With ten legs of three stages every one of them may appear in a round of its own. */
const maxRounds = 40

/**
 * Turns the artifacts of all legs into one text without a job that waits for them: upload, list, render, post, and
 * list again until nothing is new. The last write of all contains every leg, because its writer listed once more after
 * it and found nothing that it had not rendered; a leg that was uploaded after that list writes after its own upload,
 * which contradicts "last".
 *
 * @returns the last text that was posted, and the names that are in it.
 */
export async function fanIn<Leg>(
  io: FanIn<Leg>,
): Promise<{ readonly body: string; readonly names: readonly string[] }> {
  await io.upload()
  const fetched = new Map<string, Leg | undefined>()
  let posted: { body: string; names: readonly string[] } | undefined
  for (let round = 0; round < maxRounds; round++) {
    const names = newest(await io.list(), io.key)
    if (posted !== undefined && names.every(name => fetched.has(name))) return posted
    const legs: Leg[] = []
    for (const name of names) {
      if (!fetched.has(name)) fetched.set(name, await io.fetchLeg(name))
      const leg = fetched.get(name)
      if (leg !== undefined) legs.push(leg)
    }
    const body = io.render(legs)
    if (body !== posted?.body) await io.post(body)
    posted = { body, names }
  }
  return posted as { body: string; names: readonly string[] }
}
