import { type Static, Type } from '@sinclair/typebox'
import { maxText } from './limits.ts'

const closed = { additionalProperties: false }
const Text = Type.String({ maxLength: maxText })

/** The parts of the autoscaling chain, in the order in which a load travels through it. */
export const chainLinks = ['controller', 'metrics', 'decision', 'external-metric', 'hpa'] as const
export type ChainLink = (typeof chainLinks)[number]

/** From when on a link of the chain did not work. */
export const ChainBreak = Type.Object(
  {
    link: Type.Union(chainLinks.map(link => Type.Literal(link))),
    /** Receipt on the runner, ms since the Unix epoch. */
    at: Type.Number({ minimum: 0, maximum: 1e14 }),
    why: Text,
  },
  closed,
)
export type ChainBreak = Static<typeof ChainBreak>

const settleOutcomes = ['proven', 'reset', 'waited', 'none'] as const
/** How a repeat came to its start state. */
export const Settled = Type.Object(
  {
    /** `proven`: it stood there already. `reset`: fast-forwarded. `waited`: given time. `none`: started as it was. */
    how: Type.Union(settleOutcomes.map(how => Type.Literal(how))),
    seconds: Type.Number({ minimum: 0, maximum: 1e7 }),
    /** Attempts of a reset, from 1. */
    tries: Type.Integer({ minimum: 0, maximum: 100 }),
    /** Why the start state was not reached. */
    carriedOver: Type.Optional(Text),
  },
  closed,
)
export type Settled = Static<typeof Settled>

/**
 * What WVA would need from saturation to a serving replica, against the length of a step; s. Sources: the HPA's
 * stabilisation window for scaling up, the controller's reconcile interval, and the start-up that standup measured.
 */
export const Reaction = Type.Object(
  {
    seconds: Type.Number({ minimum: 0, maximum: 1e7 }),
    parts: Type.Object(
      {
        window: Type.Number({ minimum: 0, maximum: 1e7 }),
        reconcile: Type.Number({ minimum: 0, maximum: 1e7 }),
        start: Type.Number({ minimum: 0, maximum: 1e7 }),
      },
      closed,
    ),
    stepSeconds: Type.Number({ exclusiveMinimum: 0, maximum: 1e7 }),
    /** A scale-up window, s, with which a reaction would fit into a step; absent when it fits, or when none would. */
    windowThatFits: Type.Optional(Type.Number({ minimum: 0, maximum: 1e7 })),
  },
  closed,
)
export type Reaction = Static<typeof Reaction>
