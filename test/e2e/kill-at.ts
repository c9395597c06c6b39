import { expect } from '@jest/globals'
import type { Sandbox } from '../sandbox/sandbox.ts'
import type { ActionRun } from './run-action.ts'

type Kill = (signal: NodeJS.Signals) => void

/** What a killer hands to the start of a step; `sent` says afterwards whether it came to that. */
export interface Killer {
  readonly onSpawn: (kill: Kill) => void
  readonly onOutput?: (text: string) => void
  readonly sent: boolean
}

/** Sends a signal as soon as the output shows a text. */
export function killAt(marker: string, signal: NodeJS.Signals) {
  let kill: Kill | undefined
  let seen = ''
  let sent = false
  return {
    onSpawn: (k: Kill) => {
      kill = k
    },
    onOutput: (text: string) => {
      seen += text
      if (sent || !seen.includes(marker)) return
      sent = true
      kill?.(signal)
    },
    get sent() {
      return sent
    },
  } satisfies Killer
}

/** Sends a signal as soon as the cluster is in a state, which the log may tell too late or not at all. */
export function killWhen(sandbox: Sandbox, state: () => boolean, signal: NodeJS.Signals): Killer {
  let sent = false
  return {
    onSpawn: kill => {
      sandbox.until('the state to kill in', state, 60_000).then(
        () => {
          sent = true
          kill(signal)
        },
        // `sent` tells it.
        () => undefined,
      )
    },
    get sent() {
      return sent
    },
  }
}

/** The signal was sent, and it is what ended the step. */
export function expectKilled(step: ActionRun, killer: Killer, signal: NodeJS.Signals): void {
  expect({ sent: killer.sent, out: killer.sent ? '' : step.stdout }).toEqual({ sent: true, out: '' })
  if (signal === 'SIGKILL') expect(step.signal).toBe('SIGKILL')
  else expect(step.outputs['failure-code']).toBe('CANCELLED')
}
