import type { KubeObject } from '../kube.ts'
import { names } from '../names.ts'
import { object } from '../object.ts'
import type { Component, StackSpec } from '../spec.ts'

/**
 * Runs in the vLLM container before the server: exports the RDMA devices that are up, and the rank of the first engine.
 * It must never stop the server: every tool may be missing, every output may be odd, and the file is always written.
 */
const setEnvironment = `#!/usr/bin/env python3
"""Writes $HOME/llmdbench_env.sh: network devices for UCX and NCCL, and START_RANK."""
import os
import re
import subprocess


def output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def active_ports(text):
    """(device, port) pairs of ibstat whose state is Active."""
    found, device, port = [], None, None
    for line in text.splitlines():
        start = re.match(r"CA '([^']+)'", line.strip())
        if start:
            device = start.group(1)
        number = re.match(r"Port (\\d+):", line.strip())
        if number:
            port = number.group(1)
        if re.match(r"State:\\s*Active", line.strip()) and device and port:
            found.append((device, port))
    return found


def main():
    lines = []
    ports = active_ports(output("ibstat"))
    if ports:
        lines.append('export UCX_NET_DEVICES="%s"' % ",".join("%s:%s" % p for p in ports))
        lines.append('export NCCL_IB_HCA="=%s"' % ",".join(sorted({d for d, _ in ports})))
    try:
        rank = int(os.environ.get("LWS_WORKER_INDEX", "0")) * int(os.environ.get("DP_SIZE_LOCAL", "1"))
    except ValueError:
        rank = 0
    lines.append("export START_RANK=%d" % rank)
    try:
        with open(os.path.join(os.environ.get("HOME", "/tmp"), "llmdbench_env.sh"), "w") as out:
            out.write("\\n".join(lines) + "\\n")
    except OSError as error:
        print("llmdbench_env.sh was not written: %s" % error)


if __name__ == "__main__":
    main()
`

/** In the namespace of the vLLM pods, which mount it. */
export const preprocess: Component = {
  id: 'preprocess',
  objects: (spec: StackSpec): KubeObject[] => [
    object(spec, 'v1', 'ConfigMap', names(spec).preprocesses, {
      data: { 'set_llmdbench_environment.py': setEnvironment },
    }),
  ],
}
