import { labelsText } from './exposition.ts'

/**
 * The controller's gauges. Nothing ever takes a series out: a variant that was deleted keeps its last values until the
 * process ends, and its namesake starts from them.
 */
export class Gauges {
  readonly #values = new Map<string, { current: number; desired: number }>()

  emit(of: { variant: string; namespace: string; accelerator: string }, current: number, desired: number): void {
    const labels = { accelerator_type: of.accelerator, namespace: of.namespace, variant_name: of.variant }
    this.#values.set(labelsText(labels), { current, desired })
  }

  /** The metrics page. */
  render(): string {
    const family = (name: string, value: (v: { current: number; desired: number }) => number) =>
      this.#values.size === 0
        ? []
        : [`# TYPE ${name} gauge`, ...[...this.#values].map(([labels, v]) => `${name}{${labels}} ${value(v)}`)]
    return [
      ...family('inferno_current_replicas', v => v.current),
      ...family('inferno_desired_ratio', v => (v.current === 0 ? v.desired : v.desired / v.current)),
      ...family('inferno_desired_replicas', v => v.desired),
      '',
    ].join('\n')
  }
}
