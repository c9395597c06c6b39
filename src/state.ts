import { type Static, Type } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'

/**
 * What main leaves for post, written before the act it describes. Names only, never a secret; the runner keeps it in a
 * file and hands it back as STATE_* variables.
 */
export const StepState = Type.Object({
  version: Type.Literal(1),
  mode: Type.Union([Type.Literal('standup'), Type.Literal('run'), Type.Literal('teardown')]),
  /** This step's id in the cluster: label value of the pods it makes. */
  runId: Type.String({ maxLength: 63 }),
  /** Owner written into the inventory; post removes only a stack that this owner stood up. */
  holder: Type.String({ maxLength: 300 }),
  out: Type.String(),
  phase: Type.Union([
    Type.Literal('started'),
    Type.Literal('touched'),
    Type.Literal('finished'),
    Type.Literal('failed'),
  ]),
  published: Type.Boolean(),
})
export type StepState = Static<typeof StepState>

/** Reads the state back; undefined when there is none or it is not ours. */
export function parseState(text: string): StepState | undefined {
  if (text === '') return undefined
  try {
    const value: unknown = JSON.parse(text)
    return TypeCompiler.Compile(StepState).Check(value) ? value : undefined
  } catch {
    return undefined
  }
}

export type PostTask =
  | { readonly kind: 'nothing'; readonly why: string }
  | { readonly kind: 'remove-stack' }
  | { readonly kind: 'remove-harness'; readonly publish: boolean }
  | { readonly kind: 'finish-teardown'; readonly publish: boolean }

/** What post has to do, decided from the state and the inputs alone. */
export function decidePost(
  state: StepState | undefined,
  inputs: { lifetime?: 'job' | 'ttl'; dryRun: boolean },
): PostTask {
  if (state === undefined) return { kind: 'nothing', why: 'main did not start' }
  if (inputs.dryRun) return { kind: 'nothing', why: 'dry run' }
  if (state.phase === 'started') return { kind: 'nothing', why: 'main stopped before it touched the cluster' }
  switch (state.mode) {
    case 'standup':
      return inputs.lifetime === 'ttl' ? { kind: 'nothing', why: 'lifetime: ttl' } : { kind: 'remove-stack' }
    case 'run':
      return state.phase === 'finished' && state.published
        ? { kind: 'nothing', why: 'the run finished and cleaned up after itself' }
        : { kind: 'remove-harness', publish: !state.published }
    case 'teardown':
      return state.phase === 'finished'
        ? { kind: 'nothing', why: 'the teardown finished' }
        : { kind: 'finish-teardown', publish: !state.published }
  }
}
