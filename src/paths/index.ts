import type { PathSettings } from '../stack/spec.ts'
import { inferenceScheduling } from './inference-scheduling.ts'

/** Well-lit paths by name; a new one is a file and a line here. */
export const wellLitPaths: Readonly<Record<string, PathSettings>> = {
  'inference-scheduling': inferenceScheduling,
}
export const defaultPath = 'inference-scheduling'
