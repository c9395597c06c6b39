import { chmod, lstat, mkdir, rm, rmdir, symlink, unlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { KubeObject } from '../../../src/stack/kube.ts'
import type { ContainerSpec, DownwardItems, Items, Pod, Volume, VolumeSource } from '../controllers/objects.ts'
import { dataOf, field, type Lookup, pathRewriter } from './environment.ts'

/** A volume cannot be set up: FailedMount, and the pod stays in ContainerCreating until it can. */
export class MountError extends Error {}

export interface VolumeContext {
  readonly lookup: Lookup
  readonly claim: (name: string) => KubeObject | undefined
  /** Folder of a bound claim, shared by every pod that mounts it. */
  readonly claimFolder: (claim: KubeObject) => string
  readonly address: { podIP: string; hostIP: string }
  readonly token: string
  readonly caPem: string
}

interface File {
  name: string
  content: Buffer
  mode: number
}

function picked(object: KubeObject, source: Items, defaultMode: number, what: string): File[] {
  const data = dataOf(object)
  if (source.items === undefined) return [...data].map(([name, content]) => ({ name, content, mode: defaultMode }))
  return source.items.flatMap(item => {
    const content = data.get(item.key)
    if (content === undefined && !source.optional)
      throw new MountError(`${what} references non-existent config key: ${item.key}`)
    return content === undefined ? [] : [{ name: item.path, content, mode: item.mode ?? defaultMode }]
  })
}

function files(pod: Pod, source: VolumeSource, context: VolumeContext): File[] {
  const from = (kind: 'ConfigMap' | 'Secret', name: string, items: Items, mode = 0o644): File[] => {
    const object = context.lookup(kind, name)
    if (object === undefined && !items.optional) throw new MountError(`${kind.toLowerCase()} "${name}" not found`)
    return object === undefined ? [] : picked(object, items, mode, kind.toLowerCase())
  }
  const downward = (items: DownwardItems): File[] =>
    (items.items ?? []).map(i => ({
      name: i.path,
      content: Buffer.from(field(pod, i.fieldRef?.fieldPath ?? '', context.address)),
      mode: 0o644,
    }))
  if (source.configMap) return from('ConfigMap', source.configMap.name, source.configMap, source.configMap.defaultMode)
  if (source.secret) return from('Secret', source.secret.secretName, source.secret, source.secret.defaultMode)
  if (source.downwardAPI) return downward(source.downwardAPI)
  return (source.projected?.sources ?? []).flatMap(part => {
    const mode = source.projected?.defaultMode
    if (part.configMap) return from('ConfigMap', part.configMap.name, part.configMap, mode)
    if (part.secret) return from('Secret', part.secret.name, part.secret, mode)
    if (part.downwardAPI) return downward(part.downwardAPI)
    return part.serviceAccountToken
      ? [{ name: part.serviceAccountToken.path, content: Buffer.from(context.token), mode: 0o600 }]
      : []
  })
}

/** Throws what keeps the volume from being set up, before any container of the pod starts. */
export function checkVolume(pod: Pod, volume: Volume, context: VolumeContext): void {
  if (volume.persistentVolumeClaim) {
    const name = volume.persistentVolumeClaim.claimName
    const phase = (context.claim(name)?.status as { phase?: string } | undefined)?.phase
    if (phase === undefined) throw new MountError(`persistentvolumeclaim "${name}" not found`)
    if (phase !== 'Bound') throw new MountError(`persistentvolumeclaim "${name}" is not bound`)
  } else files(pod, volume, context)
}

export const tokenMount = '/var/run/secrets/kubernetes.io/serviceaccount'

/**
 * Lays out a container's root folder: one symbolic link per mount path, to the volume's folder; configuration files are
 * written for each container anew. Folders that every image has (/tmp, the home and working folders) are made in the root.
 * @returns mount path -> folder, for `pathRewriter`
 */
export async function layOut(
  root: string,
  pod: Pod,
  container: ContainerSpec,
  own: readonly string[],
  podFolder: string,
  context: VolumeContext,
): Promise<Map<string, string>> {
  const mounts = new Map<string, string>()
  for (const folder of ['/tmp', ...own]) {
    const target = path.join(root, folder)
    await mkdir(target, { recursive: true })
    if (folder !== '/') mounts.set(path.posix.normalize(folder).replace(/\/$/, ''), target)
  }
  const volumes = new Map((pod.spec.volumes ?? []).map(v => [v.name, v]))
  const wanted = [...(container.volumeMounts ?? [])].sort((a, b) => a.mountPath.length - b.mountPath.length)
  for (const mount of wanted) mounts.set(mount.mountPath.replace(/\/$/, ''), path.join(root, mount.mountPath))
  if (pod.spec.automountServiceAccountToken !== false && !mounts.has(tokenMount))
    mounts.set(tokenMount, path.join(root, tokenMount))
  const rewrite = pathRewriter(mounts)
  for (const mount of wanted) {
    const volume = volumes.get(mount.name)
    if (volume === undefined) throw new MountError(`volume "${mount.name}" does not exist`)
    let source = path.join(podFolder, 'volumes', mount.name)
    if (volume.persistentVolumeClaim)
      source = context.claimFolder(context.claim(volume.persistentVolumeClaim.claimName)!)
    else if (volume.emptyDir === undefined)
      source = await writeFiles(path.join(root, '.volumes', mount.name), files(pod, volume, context), rewrite)
    await mkdir(source, { recursive: true })
    if (mount.subPath) {
      source = path.join(source, mount.subPath)
      if (volume.persistentVolumeClaim || volume.emptyDir) await mkdir(source, { recursive: true })
    }
    const target = path.join(root, mount.mountPath)
    await mkdir(path.dirname(target), { recursive: true })
    // What stands there is an empty folder of this root, or the mount point that another container left in a shared volume.
    const before = await lstat(target).catch(() => undefined)
    if (before?.isSymbolicLink()) await unlink(target)
    else if (before) await rmdir(target)
    await symlink(source, target)
  }
  if (mounts.has(tokenMount) && !wanted.some(m => m.mountPath === tokenMount)) {
    const text = (name: string, content: string): File => ({ name, content: Buffer.from(content), mode: 0o644 })
    const all = [
      text('token', context.token),
      text('ca.crt', context.caPem),
      text('namespace', pod.metadata.namespace ?? 'default'),
    ]
    await writeFiles(path.join(root, tokenMount), all, t => t)
  }
  return mounts
}

// A script in a ConfigMap names mount paths, too, and nobody but this function can translate them.
async function writeFiles(folder: string, all: readonly File[], rewrite: (text: string) => string): Promise<string> {
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  for (const file of all) {
    const target = path.join(folder, file.name)
    await mkdir(path.dirname(target), { recursive: true })
    const script = file.content.subarray(0, 2).toString() === '#!'
    await writeFile(target, script ? rewrite(file.content.toString('utf8')) : file.content)
    await chmod(target, file.mode)
  }
  return folder
}
