import path from 'node:path'

/** Name of a profile: its file name without folders and endings. */
export const profileName = (workload: string): string => path.basename(workload).replace(/\.ya?ml(\.in)?$/, '')
