const blocks = '▁▂▃▄▅▆▇█'

/**
 * One character per value, from `▁` (above 0) to `█` (`top`); `.` is 0, a space no data. Nothing above 0 looks like 0.
 */
export const sparkline = (values: readonly (number | null)[], top: number): string =>
  values
    .map(value =>
      value === null
        ? ' '
        : value <= 0 || top <= 0
          ? '.'
          : blocks[Math.min(blocks.length, Math.ceil((value / top) * blocks.length)) - 1],
    )
    .join('')
