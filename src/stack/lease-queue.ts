import { expiryMs, type LeaseRecord, maxTickets, type Ticket } from './lease-record.ts'

export interface QueueTiming {
  /** A ticket that was not refreshed for this long is dropped. */
  readonly ticketMs: number
  readonly refreshMs: number
  /** How long each place further back waits before it makes a Lease anew that was deleted. */
  readonly stepBackMs: number
  /** What clocks may disagree by before a Lease that has run out is taken. */
  readonly marginMs: number
}
export const queueTiming: QueueTiming = { ticketMs: 60_000, refreshMs: 20_000, stepBackMs: 2000, marginMs: 2000 }

/** Two clocks may disagree by this much before a ticket counts as coming from the future, and not at all. */
const futureMs = 10_000

/** Those who still wait, the longest waiting first. */
export function liveTickets(tickets: readonly Ticket[], nowMs: number, ticketMs: number): Ticket[] {
  return tickets
    .filter(t => nowMs - t.seen <= ticketMs && t.seen - nowMs <= futureMs)
    .sort((a, b) => a.at - b.at || (a.holder < b.holder ? -1 : 1))
}

/** The list with this ticket refreshed (or added, if there is room), the dead ones dropped. */
export function withTicket(tickets: readonly Ticket[], ticket: Ticket, ticketMs: number): Ticket[] {
  const others = liveTickets(tickets, ticket.seen, ticketMs).filter(t => t.holder !== ticket.holder)
  return others.length >= maxTickets ? others : [...others, ticket]
}

/** What a waiter knows. */
export interface Situation {
  /** Undefined: there is no Lease of that name. */
  readonly record: LeaseRecord | undefined
  /** The queue as it was last seen, also while there is no Lease to read it from. */
  readonly tickets: readonly Ticket[]
  readonly me: string
  readonly nowMs: number
  /** When this renewal was first seen, or, without a Lease, since when there is none. */
  readonly sinceMs: number
}

/** What a waiter does next. `place` counts those ahead of it. */
export type Step = { readonly place: number; readonly waiting: number } & (
  | { readonly kind: 'create' }
  | { readonly kind: 'take' }
  | { readonly kind: 'ticket' }
  | { readonly kind: 'wait'; readonly untilMs: number }
)

/**
 * The rule of the queue. A Lease that this holder has already is its own at once; one that is free or has run out goes to
 * the first of the live tickets; one that was deleted is made anew by whoever is first in the queue as last seen, and by
 * those further back only when nobody ahead did so in time.
 */
export function nextStep(situation: Situation, timing: QueueTiming): Step {
  const { record, me, nowMs, sinceMs } = situation
  const live = liveTickets(situation.tickets, nowMs, timing.ticketMs)
  const mine = live.find(t => t.holder === me)
  const ahead = mine ? live.slice(0, live.indexOf(mine)) : live
  const place = ahead.length
  const queue = { place, waiting: live.length + (mine ? 0 : 1) }
  if (record === undefined) {
    const turn = sinceMs + place * timing.stepBackMs
    return nowMs >= turn ? { ...queue, kind: 'create' } : { ...queue, kind: 'wait', untilMs: turn }
  }
  if (record.holder === me) return { ...queue, kind: 'take' }
  const expiry = expiryMs(record, sinceMs, timing.marginMs)
  const open = record.holder === undefined || nowMs > expiry
  if (open && place === 0) return { ...queue, kind: 'take' }
  const due = mine ? mine.seen + timing.refreshMs : nowMs
  const room = mine !== undefined || live.length < maxTickets
  if (due <= nowMs && room) return { ...queue, kind: 'ticket' }
  const drops = Math.min(...ahead.map(t => t.seen)) + timing.ticketMs
  return { ...queue, kind: 'wait', untilMs: Math.min(room ? due : drops, open ? drops : expiry) + 1 }
}
