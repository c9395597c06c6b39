/** How the platform of the autoscaler is set up. Intervals are Go durations and are taken as they are, whatever the speed of the sandbox. */
export interface WvaOptions {
  /** Of the controller. Default llm-d-autoscaler; a second controller lives in `<namespace>-2`. */
  namespace?: string
  version?: string
  /** Between two decisions; default 60s. */
  reconcile?: string
  /** Overrides the interval of every ServiceMonitor. */
  scrape?: string
  /** Over which the controller takes peaks; default 1m. */
  window?: string
  /** Between two looks of the adapter for new metrics; default 30s. */
  relist?: string
  /** `max` serves one value per variant however many controllers there are; `plain` one per series, as the chart's rule does. */
  rule?: 'max' | 'plain'
  /** Labels that a ServiceMonitor needs to be scraped; none by default. */
  serviceMonitorSelector?: Readonly<Record<string, string>>
  /** Installations, each in a namespace of its own. */
  controllers?: 1 | 2
  /** Pods of each controller; the chart has 2, of which one leads. Default 1. */
  replicas?: number
}

export const defaults = {
  namespace: 'llm-d-autoscaler',
  version: '0.4.2',
  reconcile: '60s',
  window: '1m',
  relist: '30s',
  rule: 'max',
  serviceMonitorSelector: {},
  controllers: 1,
  replicas: 1,
} as const satisfies WvaOptions

export const monitoringNamespace = 'openshift-user-workload-monitoring'
export const prometheusUrl = `https://prometheus.${monitoringNamespace}.svc.cluster.local:9090`
export const controllerName = 'workload-variant-autoscaler-controller-manager'
