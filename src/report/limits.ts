/**
 * GitHub refuses an issue comment of more than 65,536 characters; kept below that, in bytes, because its own count of
 * characters outside ASCII is not documented.
 */
export const commentBytes = 60_000
/** GitHub refuses a job summary of more than 1 MiB per step; other steps of the job are not counted in. */
export const summaryBytes = 900_000
/** Rates side by side that fit the width of a comment; more go into a folded table. */
export const visibleRates = 6
/** Failed repeats, leftovers and kept objects that are listed one by one. */
export const listed = 10
/** Legs shown with their figures. */
export const shownLegs = 8
export const evidenceLines = 30
export const evidenceBytes = 6_000
