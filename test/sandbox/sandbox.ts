import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { KubeObject } from '../../src/stack/kube.ts'
import { simulatedLabel } from '../../src/stack/kube.ts'
import { claimFolder, NodeAgent } from './agent/agent.ts'
import { type ImageFault, Images } from './agent/images.ts'
import { locator } from './agent/node.ts'
import { Processes } from './agent/process.ts'
import type { Faults } from './api/faults.ts'
import { type CrdSpec, platformCrds } from './api/kinds.ts'
import { type ApiServer, type ApiServerOptions, startApiServer } from './api/server.ts'
import { KubeClient } from './client.ts'
import { tokenIssuer } from './controllers/access.ts'
import { startApiServiceController } from './controllers/apiservices.ts'
import { Cluster } from './controllers/cluster.ts'
import { startDeploymentController } from './controllers/deployment.ts'
import { startEndpointsController } from './controllers/endpoints.ts'
import { hpaRules, startHpaController } from './controllers/hpa.ts'
import { startJobController } from './controllers/job.ts'
import { startNamespaceController } from './controllers/namespaces.ts'
import type { Pod } from './controllers/objects.ts'
import { startReplicaSetController } from './controllers/replicaset.ts'
import { nodeObject, startScheduler } from './controllers/scheduler.ts'
import { refusalAnnotation, startStorageController } from './controllers/storage.ts'
import { entrypoints, writeBin } from './doubles/registry.ts'
import { startGatewayController } from './gateway/controller.ts'
import { Addresses, Network } from './proxy.ts'
import { installWva } from './wva/install.ts'
import type { WvaOptions } from './wva/options.ts'

export interface NodeOptions {
  name: string
  gpus?: number
  labels?: Record<string, string>
  taints?: { key: string; value?: string; effect: string }[]
  /** Quantities; 128 cores and 1Ti unless given. */
  cpu?: string
  memory?: string
}
export interface StorageClassOptions {
  name: string
  isDefault?: boolean
  bindingMode?: 'Immediate' | 'WaitForFirstConsumer'
  /** The provisioner refuses every claim with this text. */
  refuses?: string
}

/** Milliseconds, fixed or computed from the object and what is done to it (an image, a container's name). */
export type Delay<T> = number | ((object: T, detail: string) => number)
export interface Delays {
  schedule?: Delay<Pod>
  /** First pull of an image on a node. */
  imagePull?: Delay<Pod>
  /** Between the creation of a container and its start. */
  containerStart?: Delay<Pod>
  pvcBind?: Delay<KubeObject>
}

export interface SandboxOptions {
  /** Default: h100-a and h100-b with 8 GPUs each, and one node without. All get the label that says *simulated*. */
  nodes?: NodeOptions[]
  crds?: readonly CrdSpec[]
  /** Resource ids to leave out, as `httproutes.gateway.networking.k8s.io`. */
  omitCrds?: readonly string[]
  storageClasses?: StorageClassOptions[]
  delays?: Delays
  workDir?: string
  /** Probe periods and back-offs are divided by it. Default 1. */
  speed?: number
  /**
   * Between two syncs of a HorizontalPodAutoscaler, in milliseconds. Default 15000 / speed. Its own windows and periods
   * (`stabilizationWindowSeconds`, `periodSeconds`) are whole seconds of the API and NOT divided by `speed`.
   */
  hpaSyncMs?: number
  /** Folders on the containers' PATH before the doubles. */
  containerPath?: readonly string[]
  /** More variables for every container. */
  env?: Readonly<Record<string, string>>
  /** Base URLs of servers on this machine that pods may reach, as a model hub's. Everything else outside is refused. */
  hosts?: readonly string[]
  /** What images run that have no double: asked before the doubles' own. */
  entrypoints?: readonly { image: RegExp; argv: readonly string[] }[]
  /** False leaves Gateways without a controller. */
  gateway?: boolean
  /** Installs Prometheus, the autoscaler's controller and the metrics adapter; there by the time the start resolves. */
  wva?: WvaOptions
  api?: Omit<ApiServerOptions, 'crds'>
}

export interface Sandbox {
  readonly api: ApiServer
  readonly kubeconfig: string
  readonly kubeconfigFile: string
  readonly workDir: string
  /** May be changed at any time. Images with the tags `missing` and `crash` are broken from the start. */
  readonly faults: { readonly api: Faults; readonly images: ImageFault[] }
  /** From now on no pod reaches that `host:port` of `hosts`. */
  blockHost(host: string): void
  /** One line per object, `apiVersion Kind namespace/name`, sorted; cluster-scoped objects without `namespace/`. */
  snapshot(): string[]
  /** `Reason Kind/name: message` of a namespace's events, oldest first. */
  events(namespace: string): string[]
  /** What a container wrote so far. */
  podLog(namespace: string, pod: string, container: string): string
  /** Process ids of the containers' first processes. */
  pids(): number[]
  /** Waits until `test` gives a value; asked again after every change of any object. */
  until<T>(what: string, test: () => T | undefined | false, timeoutMs?: number): Promise<T>
  close(): Promise<void>
}

const gpuLabels = { 'nvidia.com/gpu.product': 'NVIDIA-H100-80GB-HBM3' }
const defaultNodes: NodeOptions[] = [
  { name: 'h100-a', gpus: 8, labels: gpuLabels },
  { name: 'h100-b', gpus: 8, labels: gpuLabels },
  { name: 'cpu-a', cpu: '64', memory: '256Gi' },
]

const delayOf =
  <T>(delay: Delay<T> | undefined) =>
  (object: T, detail = ''): number =>
    typeof delay === 'function' ? delay(object, detail) : (delay ?? 0)

/** Starts a whole cluster in this process: API server, controllers, nodes. Containers are processes of this machine. */
export async function startSandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  const workDir = options.workDir ?? (await mkdtemp(path.join(tmpdir(), 'bench-sandbox-')))
  await mkdir(workDir, { recursive: true })
  // First, so that its watchdog removes the folder also when the start fails.
  const processes = new Processes(workDir)
  const bin = path.join(workDir, 'bin')
  await writeBin(bin, process.execPath)
  const crds = (options.crds ?? platformCrds).filter(c => !options.omitCrds?.includes(`${c.plural}.${c.group}`))
  const api = await startApiServer({ ...options.api, crds })
  const addresses = await Addresses.claim()
  const cluster = new Cluster(api.store)
  const network = new Network(cluster, options.hosts ?? [])
  const speed = options.speed ?? 1
  const images = new Images(delayOf(options.delays?.imagePull))
  const caFile = path.join(workDir, 'ca.crt')
  const kubeconfigFile = path.join(workDir, 'kubeconfig')
  await writeFile(caFile, api.caPem)
  await writeFile(kubeconfigFile, api.kubeconfig(), { mode: 0o600 })

  register(api, options)
  const folders = [...(options.containerPath ?? []), bin]
  const issue = tokenIssuer(cluster, api.tokens)
  const { hostname, port } = new URL(api.url)
  const agent = new NodeAgent(cluster, {
    ...{ caPem: api.caPem, backoffMs: 1000 / speed },
    services: {
      ...{ workDir, processes, images, speed, locate: locator(folders) },
      delays: {
        imagePull: delayOf(options.delays?.imagePull),
        containerStart: delayOf(options.delays?.containerStart),
      },
      entrypoint: image => [...(options.entrypoints ?? []), ...entrypoints].find(e => e.image.test(image))?.argv,
    },
    join: pod => {
      const namespace = pod.metadata.namespace ?? 'default'
      const podIP = addresses.take()
      const proxy = network.open(podIP, namespace)
      const env = {
        ...{
          PATH: [...folders, '/usr/bin', '/bin'].join(':'),
          HTTP_PROXY: proxy,
          http_proxy: proxy,
          NO_PROXY: '',
          no_proxy: '',
        },
        ...{
          SANDBOX_POD_IP: podIP,
          SANDBOX_PROXY: proxy,
          SANDBOX_CA_FILE: caFile,
          HOSTNAME: pod.spec.hostname ?? pod.metadata.name,
        },
        ...{ KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port, ...options.env },
      }
      const leave = () => {
        network.close(podIP)
        addresses.give(podIP)
      }
      return { podIP, env, token: issue(namespace, pod.spec.serviceAccountName ?? 'default'), leave }
    },
  })
  api.setRuntime(agent)
  startNamespaceController(cluster, api.caPem)
  startScheduler(cluster, delayOf(options.delays?.schedule))
  startReplicaSetController(cluster)
  startDeploymentController(cluster)
  startJobController(cluster, 1000 / speed)
  startEndpointsController(cluster)
  startApiServiceController(cluster, 30_000 / speed)
  startStorageController(
    cluster,
    delayOf(options.delays?.pvcBind),
    uid => void rm(claimFolder(workDir, uid), { recursive: true, force: true }),
  )

  const autoscaler = new KubeClient({
    server: api.url,
    ca: api.caPem,
    token: api.tokens.add({ name: 'system:serviceaccount:kube-system:horizontal-pod-autoscaler', rules: hpaRules }),
    userAgent: 'kube-controller-manager/sandbox',
  })
  startHpaController(cluster, autoscaler, options.hpaSyncMs ?? 15_000 / speed)

  const istiod = new KubeClient({
    server: api.url,
    ca: api.caPem,
    token: api.tokens.add({ name: 'system:serviceaccount:istio-system:istiod' }),
  })
  const gateway = options.gateway === false ? undefined : await startGatewayController(istiod)
  await gateway?.settled

  let closing: Promise<void> | undefined
  const close = async () => {
    await gateway?.close()
    istiod.close()
    await agent.close()
    cluster.close()
    autoscaler.close()
    await network.closeAll()
    addresses.close()
    await api.close()
    await processes.close()
    await rm(workDir, { recursive: true, force: true })
  }
  const sandbox: Sandbox = {
    ...{
      api,
      workDir,
      kubeconfigFile,
      kubeconfig: api.kubeconfig(),
      faults: { api: api.faults, images: images.faults },
    },
    blockHost: host => network.block(host),
    snapshot: () =>
      api.store.registry
        .all()
        .flatMap(kind => api.store.peekAll(kind.id))
        .map(
          ({ apiVersion, kind, metadata: m }) =>
            `${apiVersion} ${kind} ${m.namespace ? `${m.namespace}/` : ''}${m.name}`,
        )
        .sort(),
    events: namespace =>
      (cluster.list('events', namespace) as (KubeObject & { involvedObject: { kind: string; name: string } })[])
        .sort((a, b) => Number(a.metadata.resourceVersion) - Number(b.metadata.resourceVersion))
        .map(e => `${e.reason} ${e.involvedObject.kind}/${e.involvedObject.name}: ${e.message}`),
    podLog: (namespace, pod, container) => agent.logText(namespace, pod, container),
    pids: () => processes.pids,
    until: (what, test, timeoutMs = 20_000) => until(api, what, test, timeoutMs),
    close: () => {
      closing ??= close()
      return closing
    },
  }
  // Watches that start with nothing to see would miss nothing, but a client should find the cluster complete.
  await sandbox.until('the default ServiceAccount', () => cluster.get('serviceaccounts', 'default', 'default'))
  if (options.wva) await installPlatform(sandbox, options.wva)
  return sandbox
}

async function installPlatform(sandbox: Sandbox, wva: WvaOptions): Promise<void> {
  const { api } = sandbox
  const token = api.tokens.add({ name: 'helm', groups: ['system:masters'] })
  const client = new KubeClient({ server: api.url, ca: api.caPem, token })
  try {
    await installWva(client, wva)
  } catch (error) {
    await sandbox.close()
    throw error
  } finally {
    client.close()
  }
}

/** What the cluster consists of before anybody uses it. */
function register(api: ApiServer, options: SandboxOptions): void {
  for (const [i, node] of (options.nodes ?? defaultNodes).entries()) {
    const labels = { [simulatedLabel]: 'true', ...node.labels }
    api.store.create(nodeObject({ ...node, labels, address: `10.0.0.${i + 1}` }), { manager: 'kubelet' })
  }
  for (const c of options.storageClasses ?? [{ name: 'standard', isDefault: true }]) {
    const annotations = {
      ...(c.isDefault ? { 'storageclass.kubernetes.io/is-default-class': 'true' } : {}),
      ...(c.refuses ? { [refusalAnnotation]: c.refuses } : {}),
    }
    api.store.create({
      ...{ apiVersion: 'storage.k8s.io/v1', kind: 'StorageClass', metadata: { name: c.name, annotations } },
      ...{ provisioner: 'sandbox/folder', volumeBindingMode: c.bindingMode ?? 'Immediate', reclaimPolicy: 'Delete' },
    })
  }
}

function until<T>(api: ApiServer, what: string, test: () => T | undefined | false, timeoutMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    let stop = () => undefined as unknown
    const timer = setTimeout(() => {
      stop()
      reject(new Error(`not seen within ${timeoutMs} ms: ${what}`))
    }, timeoutMs)
    const check = () => {
      let found: T | undefined | false
      try {
        found = test()
      } catch (error) {
        clearTimeout(timer)
        stop()
        return reject(error)
      }
      if (found === undefined || found === false) return
      clearTimeout(timer)
      stop()
      resolve(found)
    }
    stop = api.store.subscribe(check)
    check()
  })
}
