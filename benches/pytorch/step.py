#!/usr/bin/env python3
"""The learner's step in PyTorch, on cuda or cpu: the same network, V-trace, loss, clipping and RMSProp on batches of the
same shapes, as the table that `widths` prints. Needs nothing but PyTorch.

A batch lies in (pinned) host memory, is uploaded in one piece, and the report is read back one update late, as in `widths`.
V-trace is the plain loop over time; with --compile the whole step is handed to torch.compile.
"""

import argparse
import json
import math
import platform
import time

import torch

NUMBER = 4.0
DISCOUNT, RHO_BAR, C_BAR, PG_RHO_BAR, LAMBDA = 0.99, 1.0, 1.0, 1.0, 1.0
BASELINE_COST, ENTROPY_COST, GRADIENT_NORM_MAX = 0.5, 0.001, 0.5
DECAY, EPSILON = 0.99, 1e-5


class ActorCritic(torch.nn.Module):
    """Multilayer perceptron, both heads as one layer: A logits, then the value."""

    def __init__(self, inputs, hidden, actions):
        super().__init__()
        sizes = [inputs, *hidden]
        self.torso = torch.nn.ModuleList([torch.nn.Linear(i, o) for i, o in zip(sizes, sizes[1:])])
        self.heads = torch.nn.Linear(sizes[-1], actions + 1)
        self.actions = actions

    def forward(self, x):
        for layer in self.torso:
            x = torch.tanh(layer(x))
        x = self.heads(x)
        return x[:, : self.actions], x[:, self.actions]


def vtrace(log_ratios, discounts, rewards, values, next_values):
    """Targets and advantages, all [T, B]; Espeholt et al. 2018, section 4.1."""
    ratios = log_ratios.exp()
    rho = ratios.clamp(max=RHO_BAR)
    c = LAMBDA * ratios.clamp(max=C_BAR)
    delta = rho * (rewards + discounts * next_values - values)
    correction = torch.zeros_like(values[0])
    corrections = []
    for t in reversed(range(values.shape[0])):
        correction = delta[t] + discounts[t] * c[t] * correction
        corrections.append(correction)
    corrections = torch.stack(corrections[::-1])
    next_corrections = torch.cat([corrections[1:], torch.zeros_like(corrections[:1])])
    q = rewards + discounts * (next_values + next_corrections)
    return values + corrections, ratios.clamp(max=PG_RHO_BAR) * (q - values)


class Step:
    """Parameters and optimiser; RMSProp with epsilon inside the root."""

    def __init__(self, args, width, frames, device):
        torch.manual_seed(1)
        self.steps, self.columns, self.device = args.unroll_length, frames // args.unroll_length, device
        self.inputs, self.frames, self.autocast = 4, frames, args.autocast
        self.model = ActorCritic(self.inputs, [width] * args.layers, 2).to(device)
        self.squares = [torch.zeros_like(p) for p in self.model.parameters()]
        self.compute = torch.compile(self.update) if args.compile else self.update
        self.pending = None

    def batch(self):
        rows = self.frames + self.columns
        observations = torch.arange(rows * self.inputs).remainder(17) * 0.1 - 0.8
        arrays = [0.0, -math.log(2.0), 1.0, DISCOUNT]
        packed = torch.cat([observations, *[torch.full((self.frames,), x) for x in arrays]])
        return packed.pin_memory() if self.device.type == "cuda" else packed

    def update(self, packed):
        steps, columns, frames = self.steps, self.columns, self.frames
        rows = frames + columns
        observations = packed[: rows * self.inputs].view(rows, self.inputs)
        actions, behaviour, rewards, discounts = packed[rows * self.inputs :].view(4, frames)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.autocast):
            logits, values = self.model(observations)
        logits, values = logits[:frames].float(), values.float()
        log_probs = torch.log_softmax(logits, 1)
        chosen = log_probs.gather(1, actions.long().unsqueeze(1)).squeeze(1)
        with torch.no_grad():
            of = lambda x: x.view(steps, columns)
            vs, advantages = vtrace(
                of(chosen - behaviour), of(discounts), of(rewards), of(values[:frames]), of(values[columns:])
            )
        policy = -(advantages.flatten() * chosen).mean()
        baseline = 0.5 * (vs.flatten() - values[:frames]).square().mean()
        entropy = -(log_probs.exp() * log_probs).sum(1).mean()
        loss = policy + BASELINE_COST * baseline - ENTROPY_COST * entropy
        parameters = list(self.model.parameters())
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
            scale = (GRADIENT_NORM_MAX / norm).clamp(max=1.0)
            gradients = torch._foreach_mul(gradients, scale)
            torch._foreach_mul_(self.squares, DECAY)
            torch._foreach_addcmul_(self.squares, gradients, gradients, 1.0 - DECAY)
            roots = torch._foreach_sqrt(torch._foreach_add(self.squares, EPSILON))
            torch._foreach_addcdiv_(parameters, gradients, roots, -1e-6)
            return torch.stack([policy, baseline, entropy, loss, norm])

    def advance(self, packed):
        uploaded = packed.to(self.device, non_blocking=True)
        self.finish()
        self.pending = self.compute(uploaded)

    def finish(self):
        if self.pending is not None:
            numbers = self.pending.tolist()
            assert all(math.isfinite(x) for x in numbers), numbers
            self.pending = None


def synchronise(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def rate(work, device, seconds=1.0):
    """Calls a second, the best within the time after two warm-ups."""
    best, began = math.inf, None
    for call in range(1_000_000):
        synchronise(device)
        since = time.perf_counter()
        work()
        synchronise(device)
        if call >= 2:
            best = min(best, time.perf_counter() - since)
            began = began or since
            if time.perf_counter() - began > seconds:
                break
    return 1.0 / best


def limits(device, size):
    matrix = torch.full((size, size), 1.0 / size, device=device)
    array = torch.ones(30_000_000, device=device)
    in_a_row = 8

    def products():
        product = matrix
        for _ in range(in_a_row):
            product = product @ matrix

    def copies():
        for _ in range(in_a_row):
            array.add_(1.0)

    flops = 2.0 * size**3 * in_a_row * rate(products, device)
    return flops, 8.0 * array.numel() * in_a_row * rate(copies, device)


def floor(args, width, frames):
    """FLOPs and bytes of an update, counted as `widths` counts them."""
    rows = frames + frames // args.unroll_length
    sizes = [4, *[width] * args.layers, 3]
    weights = sum(i * o for i, o in zip(sizes, sizes[1:]))
    parameters = weights + sum(sizes[1:])
    flops = 2.0 * rows * (3 * weights - sizes[0] * sizes[1])
    return flops, NUMBER * (rows * (7 * width * args.layers + 8) + 10.0 * parameters)


def measure(args, width, frames, device):
    step = Step(args, width, frames, device)
    packed = step.batch()
    began = time.perf_counter()
    for _ in range(3):
        step.advance(packed)
        step.finish()
        if time.perf_counter() - began > args.cell_time / 2:
            break
    updates, since = 0, time.perf_counter()
    while updates == 0 or (time.perf_counter() - since < args.time and time.perf_counter() - began < args.cell_time):
        step.advance(packed)
        updates += 1
    step.finish()
    synchronise(device)
    return (time.perf_counter() - since) / updates, updates


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: [int(x) for x in text.split(",")]
    parser.add_argument("--widths", type=numbers, default=[64, 256, 1024, 4096])
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--frames", type=numbers, default=[4096, 16384, 65536])
    parser.add_argument("--unroll-length", type=int, default=16)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0 takes PyTorch's default")
    parser.add_argument("--compile", action="store_true", help="torch.compile the step")
    parser.add_argument("--tf32", action="store_true", help="let products round their factors to TF32")
    parser.add_argument("--autocast", action="store_true", help="forward and backward products in bfloat16")
    parser.add_argument("--time", type=float, default=2.0, help="seconds that a cell's updates are timed for")
    parser.add_argument("--cell-time", type=float, default=20.0, help="seconds, with what comes before")
    parser.add_argument("--product-size", type=int)
    parser.add_argument("--peak", type=float, help="the datasheet's TFLOP/s")
    parser.add_argument("--bandwidth", type=float, help="the datasheet's GB/s")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()

    device = torch.device(args.device)
    torch.backends.cuda.matmul.allow_tf32 = args.tf32
    if args.threads:
        torch.set_num_threads(args.threads)
    size = args.product_size or (4096 if device.type == "cuda" else 1024)
    measured_flops, measured_bytes = limits(device, size)
    peak = (args.peak or measured_flops / 1e12) * 1e12
    bandwidth = (args.bandwidth or measured_bytes / 1e9) * 1e9
    is_cuda = device.type == "cuda"
    name = torch.cuda.get_device_name() if is_cuda else f"cpu, {torch.get_num_threads()} threads ({platform.machine()})"
    modes = [mode for mode in ("compile", "tf32", "autocast") if getattr(args, mode)]
    print(
        f"\nPyTorch {torch.__version__}{''.join(f', {mode}' for mode in modes)}, {name}: measured "
        f"{measured_flops / 1e12:.3f} TFLOP/s in a product of {size} x {size}, {measured_bytes / 1e9:.1f} GB/s in a copy; "
        f"floors from {peak / 1e12:.3f} TFLOP/s and {bandwidth / 1e9:.1f} GB/s\n"
    )
    print("| hidden | frames | ms an update | frames/s | TFLOP/s | floor ms: arithmetic | memory | share of the floor |")
    print("|---|---|---|---|---|---|---|---|")
    cells = []
    for width in args.widths:
        for frames in args.frames:
            flops, moved = floor(args, width, frames)
            arithmetic, memory = flops / peak, moved / bandwidth
            least = max(arithmetic, memory)
            cell = {"hidden": width, "frames": frames, "flops": flops, "bytes": moved, "seconds": None}
            floors = f"{1e3 * arithmetic:.3f} | {1e3 * memory:.3f}"
            if 2.0 * least > args.cell_time:
                print(f"| {width} | {frames} | skipped | | | {floors} | |", flush=True)
            else:
                seconds, updates = measure(args, width, frames, device)
                cell |= {"seconds": seconds, "updates": updates, "frames_per_second": frames / seconds}
                print(
                    f"| {width} | {frames} | {1e3 * seconds:.3f} | {frames / seconds:.0f} | {flops / seconds / 1e12:.3f} "
                    f"| {floors} | {100 * least / seconds:.0f} % |",
                    flush=True,
                )
            cells.append(cell)
    if args.json:
        with open(args.json, "w") as file:
            figures = {"device": f"PyTorch {torch.__version__}, {name}", "modes": modes, "cells": cells}
            json.dump(figures | {"measured_flops": measured_flops, "measured_bytes": measured_bytes}, file, indent=2)


if __name__ == "__main__":
    main()
