import type { ChainBreak, WatchEvent } from '../results/schema.ts'

/**
 * Which links of the autoscaling chain did not work between `from` and `to` (receipt times, ms): what such a repeat
 * measured is not WVA. Pure; the events are those of one repeat, and a link is silent at the start until its first event.
 *
 * - *decision*: WVA repeats its decision with every reconcile; for longer than `blindMs` it did not, or its
 *   VariantAutoscaling went away.
 * - *external-metric*: for longer than `toleratedMs` no value was served.
 * - *hpa*: for longer than `toleratedMs` ScalingActive was not True, or the HPA went away.
 */
export function chainBreaks(
  events: readonly WatchEvent[],
  of: { readonly from: number; readonly to: number; readonly blindMs: number; readonly toleratedMs: number },
): ChainBreak[] {
  return [
    ...decisionBreaks(events, of),
    ...outages(
      'external-metric',
      events.filter(e => e.kind === 'ExternalMetric').map(e => ({ at: e.at, works: e.value !== null })),
      of,
      ms => `the external metrics API served no value for ${seconds(ms)}`,
    ),
    ...outages(
      'hpa',
      events
        .filter(e => e.kind === 'HorizontalPodAutoscaler')
        .map(e => ({ at: e.at, works: e.type !== 'DELETED' && e.active })),
      of,
      ms => `the HPA had no metric to act on, or was gone, for ${seconds(ms)}`,
    ),
  ].sort((a, b) => a.at - b.at)
}

const seconds = (ms: number): string => `${Math.round(ms / 1000)} s`

interface Span {
  readonly from: number
  readonly to: number
}

function decisionBreaks(events: readonly WatchEvent[], of: Span & { readonly blindMs: number }): ChainBreak[] {
  const own = events.filter(e => e.kind === 'VariantAutoscaling').sort((a, b) => a.at - b.at)
  const gone = own.find(e => e.type === 'DELETED' && e.at >= of.from && e.at <= of.to)
  const breaks: ChainBreak[] =
    gone === undefined ? [] : [{ link: 'decision', at: gone.at, why: 'the VariantAutoscaling was deleted' }]
  let lastRun: number | undefined
  let heard = of.from
  const look = (until: number) => {
    const silent = until - heard
    if (silent > of.blindMs)
      breaks.push({
        link: 'decision',
        at: heard,
        why: `WVA has not decided anything for ${seconds(silent)}: it was blind`,
      })
  }
  // What is gone cannot be decided about: its silence is no second break.
  const until = gone?.at ?? of.to
  for (const event of own) {
    if (event.at > until) break
    if (event.lastRun === undefined || event.lastRun === lastRun) continue
    lastRun = event.lastRun
    if (event.at > of.from) look(event.at)
    heard = Math.max(of.from, event.at)
  }
  look(until)
  return breaks
}

/** Stretches in which something did not work for longer than is tolerated. */
function outages(
  link: ChainBreak['link'],
  states: readonly { readonly at: number; readonly works: boolean }[],
  of: Span & { readonly toleratedMs: number },
  why: (ms: number) => string,
): ChainBreak[] {
  const breaks: ChainBreak[] = []
  let since: number | undefined
  const end = (at: number) => {
    if (since !== undefined && at - since > of.toleratedMs) breaks.push({ link, at: since, why: why(at - since) })
    since = undefined
  }
  for (const { at, works } of [...states].sort((a, b) => a.at - b.at)) {
    if (at > of.to) break
    if (works) end(Math.max(at, of.from))
    else since ??= Math.max(at, of.from)
  }
  end(of.to)
  return breaks
}
