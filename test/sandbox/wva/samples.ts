import type { Labels, Line } from './exposition.ts'

/** Reads a series: the name is the label `__name__`. Times are epoch milliseconds. */
export interface Series {
  readonly labels: Labels
  readonly times: number[]
  /** Undefined where the series went stale. */
  readonly values: (number | undefined)[]
}

/** How far back an instant query looks for the last sample. */
export const lookbackMs = 300_000

/** The samples of the last while, by series. A series that is not written any more lives on until its last sample is too old. */
export class SampleStore {
  readonly #byName = new Map<string, Map<string, Series>>()
  readonly #retentionMs: number

  constructor(retentionMs: number) {
    this.#retentionMs = retentionMs
  }

  append(name: string, labels: Labels, at: number, value: number | undefined): Series {
    const key = keyOf(labels)
    let family = this.#byName.get(name)
    if (family === undefined) {
      family = new Map()
      this.#byName.set(name, family)
    }
    let series = family.get(key)
    if (series === undefined) {
      series = { labels: { __name__: name, ...labels }, times: [], values: [] }
      family.set(key, series)
    }
    series.times.push(at)
    series.values.push(value)
    return series
  }

  /** Every series of that name. */
  family(name: string): Series[] {
    return [...(this.#byName.get(name)?.values() ?? [])]
  }

  /** Drops what is older than the retention time. */
  prune(now: number): void {
    for (const [name, family] of this.#byName) {
      for (const [key, { times, values }] of family) {
        const first = times.findIndex(time => time >= now - this.#retentionMs)
        const drop = first < 0 ? times.length : first
        times.splice(0, drop)
        values.splice(0, drop)
        if (times.length === 0) family.delete(key)
      }
      if (family.size === 0) this.#byName.delete(name)
    }
  }
}

/** The value at a moment; undefined when the last sample is a stale marker or too old. */
export function instant({ times, values }: Series, at: number): number | undefined {
  const last = times.findLastIndex(time => time <= at)
  return last < 0 || times[last]! <= at - lookbackMs ? undefined : values[last]
}

/** The samples in the `windowMs` up to a moment, stale markers left out. */
export function range({ times, values }: Series, at: number, windowMs: number): { time: number; value: number }[] {
  const found: { time: number; value: number }[] = []
  for (const [i, time] of times.entries()) {
    const value = values[i]
    if (time > at - windowMs && time <= at && value !== undefined) found.push({ time, value })
  }
  return found
}

export const keyOf = (labels: Labels): string =>
  JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))

/** The labels under which a target's sample is stored: the target's own win, the metric's clashing ones become `exported_*`. */
export function withTarget(line: Line, target: Labels): Labels {
  const own = Object.entries(line.labels).map(([name, value]) => [name in target ? `exported_${name}` : name, value])
  return { ...(Object.fromEntries(own) as Labels), ...target }
}

/** What one target wrote last, so that what it does not write any more can be marked as stale. */
export class TargetSeries {
  readonly #store: SampleStore
  readonly #labels: Labels
  #live = new Map<string, { name: string; labels: Labels }>()

  /** @param labels those that discovery gives the target: namespace, pod, service, job, endpoint, instance */
  constructor(store: SampleStore, labels: Labels) {
    this.#store = store
    this.#labels = labels
  }

  /** One scrape; `undefined` for one that failed. */
  scraped(lines: readonly Line[] | undefined, at: number): void {
    const seen = new Map<string, { name: string; labels: Labels }>()
    for (const line of lines ?? []) {
      const labels = withTarget(line, this.#labels)
      seen.set(`${line.name} ${keyOf(labels)}`, { name: line.name, labels })
      this.#store.append(line.name, labels, at, line.value)
    }
    for (const [key, { name, labels }] of this.#live) {
      if (!seen.has(key)) this.#store.append(name, labels, at, undefined)
    }
    this.#live = seen
    this.#store.append('up', this.#labels, at, lines === undefined ? 0 : 1)
  }

  /** The target is gone: all that it wrote ends here. */
  gone(at: number): void {
    for (const { name, labels } of this.#live.values()) this.#store.append(name, labels, at, undefined)
    this.#store.append('up', this.#labels, at, undefined)
    this.#live.clear()
  }
}
