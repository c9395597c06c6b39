import { Api, pause } from '../../src/cluster/api.ts'
import { loadKubeconfig } from '../../src/cluster/config.ts'
import { acquireLease, type HeldLease, type LeaseRef, resumeLease } from '../../src/cluster/lease.ts'
import { asFailure } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import type { RecordedRequest } from '../sandbox/api/faults.ts'
import type { ApiServer } from '../sandbox/api/server.ts'

export interface Tally {
  acquisitions: number
  takeovers: number
  resumptions: number
  kills: number
  losses: number
  faults: number
}
export const emptyTally = (): Tally => ({
  acquisitions: 0,
  takeovers: 0,
  resumptions: 0,
  kills: 0,
  losses: 0,
  faults: 0,
})

/** Numbers in [0, 1) that the seed alone decides (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

const timing = { ticketMs: 2000, refreshMs: 600, stepBackMs: 300, marginMs: 1200 }
/** Longest that a contender may wait, everybody else's turns, deaths and outages included. */
const patienceMs = 45_000

/** What is true in the world, as against what the Lease says: who believes to own it, and whose stack stands. */
class Oracle {
  readonly violations: string[] = []
  readonly history: string[] = []
  readonly #from = performance.now()
  #owner: string | undefined
  stack: string | undefined

  note(text: string): void {
    this.history.push(`${Math.round(performance.now() - this.#from)} ms ${text}`)
  }
  violation(text: string): void {
    this.note(`VIOLATION ${text}`)
    this.violations.push(text)
  }
  enter(who: string): void {
    if (this.#owner === who) return
    this.note(`${who} owns`)
    if (this.#owner !== undefined) this.violation(`${who} owns it while ${this.#owner} does`)
    this.#owner = who
  }
  leave(who: string, why: string): void {
    if (this.#owner !== who) return
    this.note(`${who} owns no more: ${why}`)
    this.#owner = undefined
  }
  owns = (who: string): boolean => this.#owner === who
}

/** One Lease, two to four contenders with wrong clocks, a faulty network, and an oracle. */
export class Contest {
  readonly #server: ApiServer
  readonly #ref: LeaseRef
  readonly #random: () => number
  readonly #oracle = new Oracle()
  readonly #tally: Tally
  readonly #dead = new Set<string>()
  readonly #durationSeconds: number
  #cutUntil = new Map<string, number>()
  #lives = 0

  constructor(server: ApiServer, seed: number, tally: Tally) {
    this.#server = server
    this.#ref = { namespace: 'default', name: `contest-${seed}`, labels: {} }
    this.#random = randomOf(seed)
    this.#tally = tally
    this.#durationSeconds = this.#chance(0.5) ? 1 : 2
  }

  #chance(p: number): boolean {
    return this.#random() < p
  }
  #between(low: number, high: number): number {
    return Math.round(low + this.#random() * (high - low))
  }

  /** The sentences that turned out false; empty when all is well. The history tells how it came to that. */
  async run(): Promise<{ violations: string[]; history: string[] }> {
    const stops = this.#breakNetwork()
    const contenders = this.#between(2, 4)
    const seats = Array.from({ length: contenders }, (_, i) => this.#seat(`c${i}`, this.#between(2, 3)))
    await Promise.all(seats)
    for (const stop of stops) stop()
    // Whatever state all this has left: somebody with a sound network gets it, with nothing left standing.
    // Several tries: a lease of a second is lost when this process, which is everybody at once, stalls for that long.
    let last = ''
    for (let tries = 0; tries < 5 && last !== 'done'; tries++)
      last = await this.#live('last', `last#${tries}`, true).catch(e => `${asFailure(e).what} ${asFailure(e).why}`)
    if (last !== 'done') this.#oracle.violation(`the last contender did not get it: ${last}`)
    return { violations: this.#oracle.violations, history: this.#oracle.history }
  }

  #breakNetwork(): (() => void)[] {
    const { faults } = this.#server
    const ours = (r: RecordedRequest) =>
      r.path.endsWith(`/${this.#ref.name}`) ||
      r.body.includes(`"${this.#ref.name}"`) ||
      r.query.fieldSelector === `metadata.name=${this.#ref.name}`
    const sometimes = (p: number) => (r: RecordedRequest) => {
      if (!ours(r) || !this.#chance(p)) return false
      this.#tally.faults++
      return true
    }
    const conflict = { status: 409, reason: 'Conflict', message: 'injected conflict' }
    return [
      // The network of the dead is cut, but what is on its way may still arrive. An outage ends again.
      faults.add({ match: r => this.#dead.has(r.user), dropConnection: true }),
      faults.add({ match: r => (this.#cutUntil.get(r.user) ?? 0) > performance.now(), dropConnection: true }),
      faults.add({ match: sometimes(0.03), status: 503 }),
      faults.add({ match: sometimes(0.03), dropConnection: true }),
      faults.add({ match: sometimes(0.05), dropAnswer: true }),
      faults.add({ match: r => r.method !== 'GET' && sometimes(0.03)(r), ...conflict }),
      faults.add({ match: sometimes(0.05), delayMs: this.#between(50, 300) }),
      faults.add({ match: sometimes(0.02), delayMs: this.#between(500, 2500) }),
    ]
  }

  /** One after the other, a process that is killed and one that starts in its place. */
  async #seat(seat: string, lives: number): Promise<void> {
    let holder = `${seat}-0`
    for (let life = 0; life < lives; life++) {
      await pause(this.#between(0, 800))
      // A second attempt of the same run, or another run.
      if (!this.#chance(0.3)) holder = `${seat}-${life}`
      for (let tries = 0; tries < 6; tries++) {
        const end = await this.#live(holder, `${holder}#${++this.#lives}`, false).catch(error => {
          const { code, what, why } = asFailure(error)
          this.#oracle.note(`${holder} failed: ${code} ${what} ${why}`)
          return code
        })
        if (end === 'done' || end === 'killed') break
        await pause(this.#between(50, 400))
      }
    }
  }

  async #live(holder: string, who: string, sound: boolean): Promise<'done' | 'killed'> {
    const oracle = this.#oracle
    const user = `${this.#ref.name}-${who}`
    const skew = this.#between(-600_000, 600_000)
    const yaml = this.#server.kubeconfig({ token: this.#server.tokens.add({ name: user }) })
    const config = loadKubeconfig({ kind: 'content', yaml }, undefined, {})
    const note = (line: string) => oracle.note(`  ${who}: ${line.replaceAll(/\S*contest-\S*/g, '')}`)
    const log = { ...silentLog, info: note, warning: note, debug: note }
    const api = new Api(config, log, { firstDelayMs: 30, clock: () => Date.now() + skew })
    const chance = (p: number) => !sound && this.#chance(p)
    const life = new AbortController()
    let held: HeldLease | undefined
    const kill = () => {
      this.#dead.add(user)
      this.#tally.kills++
      oracle.leave(who, 'killed')
      oracle.note(`${who} killed`)
      held?.close()
      life.abort(new Error('killed'))
    }
    const follow = (lease: HeldLease) => {
      lease.lost.addEventListener('abort', () => {
        this.#tally.losses++
        oracle.leave(who, `lost: ${asFailure(lease.lost.reason).why}`)
      })
      if (lease.lost.aborted) throw lease.lost.reason
    }
    const own = `stack-of-${holder}`
    const timers: NodeJS.Timeout[] = []
    const common = {
      ...{ holder, durationSeconds: this.#durationSeconds, renewEveryMs: this.#durationSeconds * 200 },
      ...{ timing, signal: life.signal, log },
    }
    /** Time passes; what happens to the process in it is up to chance. */
    const work = async (ms: number, signal: AbortSignal): Promise<void> => {
      if (chance(0.15)) this.#cutUntil.set(user, performance.now() + this.#between(300, 3000))
      if (chance(0.2)) timers.push(setTimeout(kill, this.#random() * ms))
      await pause(ms, AbortSignal.any([signal, life.signal]))
    }
    try {
      if (chance(0.1)) timers.push(setTimeout(kill, this.#between(0, 1500)))
      oracle.note(`${who} wants it`)
      const started = performance.now()
      held = await acquireLease(api, this.#ref, {
        ...common,
        stack: own,
        wait: !chance(0.1),
        timeoutMs: patienceMs,
        onTakeover: async (previous, signal) => {
          if (life.signal.aborted) throw life.signal.reason
          oracle.enter(who)
          signal.addEventListener('abort', () => oracle.leave(who, 'lost or stopped while clearing'))
          oracle.note(`${who} clears ${previous.stack} of ${previous.holder}`)
          this.#tally.takeovers++
          try {
            if (oracle.stack !== undefined && oracle.stack !== previous.stack)
              oracle.violation(`${who} is told to clear ${previous.stack}, but ${oracle.stack} stands`)
            await work(this.#between(20, 900), signal)
            if (chance(0.15)) throw new Error('the stack would not go')
            oracle.stack = undefined
          } catch (error) {
            oracle.leave(who, (error as Error).message)
            throw error
          }
        },
      })
      if (life.signal.aborted) held.close()
      life.signal.throwIfAborted()
      oracle.enter(who)
      follow(held)
      this.#tally.acquisitions++
      oracle.note(`${who} has it after ${Math.round(performance.now() - started)} ms`)
      if (oracle.stack !== undefined && oracle.stack !== own)
        oracle.violation(`${who} builds, but ${oracle.stack} stands`)
      oracle.stack = own
      await work(this.#between(50, 1500), held.lost)
      if (chance(0.3)) {
        const seconds = this.#between(1, 2)
        const from = performance.now()
        await held.keep(seconds)
        oracle.note(`${who} keeps it for ${seconds} s`)
        const lapsed = setTimeout(
          () => oracle.leave(who, 'kept no longer'),
          Math.max(0, from + seconds * 1000 - performance.now()),
        )
        timers.push(lapsed)
        if (chance(0.3)) {
          // Nobody comes back for it: its stack is for the next one to clear.
          await pause(Math.max(0, from + seconds * 1000 - performance.now()) + 20)
          return 'killed'
        }
        await pause(this.#between(0, 1500), life.signal)
        held = await resumeLease(api, this.#ref, common)
        clearTimeout(lapsed)
        oracle.enter(who)
        follow(held)
        this.#tally.resumptions++
        if (oracle.stack !== own) oracle.violation(`${who} resumed, but ${oracle.stack ?? 'no stack'} stands`)
        await work(this.#between(50, 800), held.lost)
      }
      held.lost.throwIfAborted()
      if (!oracle.owns(who)) oracle.violation(`${who} was not told that it owns it no more`)
      oracle.stack = undefined
      oracle.leave(who, 'released')
      await held.release()
      return 'done'
    } catch (error) {
      if (life.signal.aborted) return 'killed'
      const { code, what, why } = asFailure(error)
      if (code === 'LOCKED' && why.startsWith('Waited')) oracle.violation(`${who} waited for ever: ${what} ${why}`)
      throw error
    } finally {
      for (const timer of timers) clearTimeout(timer)
      oracle.leave(who, 'gone')
      held?.close()
      await api.close()
    }
  }
}
