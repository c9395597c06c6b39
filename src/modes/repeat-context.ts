import type { Api } from '../cluster/api.ts'
import type { Workload } from '../harness/profiles.ts'
import type { RunInputs } from '../inputs.ts'
import type { Inventory } from '../stack/inventory.ts'
import type { Session } from './session.ts'

export interface RepeatContext {
  readonly api: Api
  readonly session: Session<RunInputs>
  readonly stack: Inventory | undefined
  readonly model: string
  readonly target: string
  /** Root of the results artifact. */
  readonly resultsFolder: string
  readonly hfSecret: boolean
  readonly waitMs: number
  readonly template: string
  readonly profileName: string
  readonly workload: Workload
  readonly gpuNodesOnly: boolean
  readonly openShift: boolean
}

/** guidellm's in-flight limit: everything that a step offers, so that the client never holds a request back. */
export const inFlightLimit = (workload: Workload): number =>
  Math.ceil(Math.max(...workload.rates) * workload.secondsPerRate)

/** Folder of one harness inside its pod. */
export const resultsDir = (session: Session<RunInputs>, index: number, i: number): string =>
  `/requests/guidellm_${session.runId}-r${index}_${i}`
