#!/usr/bin/env python3
"""Shows a checkpoint, and checks its checksum. Needs `pip install safetensors numpy`."""

import argparse
import json
import sys
import zlib

from safetensors import safe_open


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="a file such as runs/<run>/checkpoints/update-000000001000.safetensors")
    path = parser.parse_args().checkpoint
    with safe_open(path, framework="numpy") as file:
        metadata = (file.metadata() or {}).get("impala_checkpoint")
        if metadata is None:
            sys.exit(f"{path} is no checkpoint of impala: its metadata has no `impala_checkpoint`")
        envelope = json.loads(metadata)
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    state = json.loads(envelope["state"])
    progress = state["progress"]
    print(f"format {envelope['format']}, update {progress['updates']}, {progress['frames']} frames")
    for name, tensor in tensors.items():
        print(f"{name:40} {tensor.dtype} {list(tensor.shape)}")

    # The state's text, then parameters and moments in the layout's order, then the actors' states by index, then the parameters
    # of the policy that solved the task, where it is an earlier one.
    layers = sorted({int(name.split(".")[1]) for name in tensors if name.startswith("torso.")})
    blocks = [f"torso.{i}" for i in layers]
    names = [f"{block}.{kind}" for block in blocks for kind in ("weight", "bias")]
    names += ["policy.weight", "policy.bias", "policy.log_std", "value.weight", "value.bias"]
    names += ["observation.mean", "observation.scale"]
    prefixes = ("", "optimiser.first.", "optimiser.second.", "optimiser.largest.")
    # Format 1 lacks the last; not every network has every block.
    order = [prefix + name for prefix in prefixes for name in names if prefix + name in tensors]
    order += sorted((name for name in tensors if name.startswith("actor.")), key=lambda name: int(name[6:]))
    order += [f"verified.{name}" for name in names if f"verified.{name}" in tensors]
    checksum = zlib.crc32(envelope["state"].encode())
    for name in order:
        checksum = zlib.crc32(tensors[name].tobytes(), checksum)
    if checksum != envelope["crc32"]:
        sys.exit(f"{path} is damaged: its checksum is {checksum:08x}, it should be {envelope['crc32']:08x}")
    print(f"checksum {checksum:08x} as it should be")


if __name__ == "__main__":
    main()
