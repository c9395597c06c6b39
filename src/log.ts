/** Where progress goes. The action's logger and the command line's are made at the door; tests pass `silentLog`. */
export interface Log {
  info(line: string): void
  warning(line: string): void
  debug(line: string): void
  /** Runs `work` inside a named, foldable section that is closed even when it throws. */
  group<T>(name: string, work: () => Promise<T>): Promise<T>
}

export const silentLog: Log = {
  info: () => undefined,
  warning: () => undefined,
  debug: () => undefined,
  group: (_name, work) => work(),
}
