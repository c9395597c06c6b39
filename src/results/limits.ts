/** Bounds of a leg document. A real one stays far below; a hostile one must not fill the memory of whoever reads it. */
export const maxRepeats = 1000
/** Rates of a profile times harness pods. */
export const maxSteps = 10_000
/** Requests of one step of one pod. */
export const maxRows = 500_000
export const maxEvents = 200_000
/** UTF-16 units of one text field. */
export const maxText = 20_000
/** Problems listed before the check gives up. */
export const maxProblems = 20
