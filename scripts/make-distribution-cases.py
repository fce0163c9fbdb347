"""Writes policy/tests/data/distribution-cases.json: what torch.distributions says about distributions over action spaces.

    pip install torch numpy
    python3 scripts/make-distribution-cases.py

For each case: log-probabilities and entropies of rows of parameters and actions, and by automatic differentiation their gradients with
respect to the parameters, in double precision. Inputs are decimal numbers that are rounded to single precision before anything is
computed. Of a squashed Gaussian the entropy is the estimate that policy/src/distribution/gaussian.rs describes: the Gaussian's own, and
the logarithm of the transform's slope at the action, which moves with mean and standard deviation. The seed is fixed, so the file changes
only with this script or torch.
"""

import json
import pathlib

import numpy as np
import torch
from torch.distributions import (
    AffineTransform,
    Categorical,
    ComposeTransform,
    Independent,
    Normal,
    TanhTransform,
    TransformedDistribution,
)

ROWS = 6
LOG_STD_MIN, LOG_STD_MAX = -10.0, 2.0


def decimals(numbers):
    """Three decimals, and the same in single precision for torch."""
    short = np.round(numbers, 3).tolist()
    return short, torch.tensor(short, dtype=torch.float32).double()


def gradient(of, parameters):
    """Of each row's own number with respect to its parameters: rows do not touch each other."""
    (rows,) = torch.autograd.grad(of.sum(), parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
    return rows


def flat(numbers):
    return [float(f"{x:.12g}") for x in numbers.detach().reshape(-1).tolist()]


def case(name, space, parameters, actions, log_probs, entropies, masks=None, squash="none"):
    values, tensor = parameters
    return {
        "name": name,
        "space": space,
        "masked": masks is not None,
        "squash": squash,
        "parameters": np.reshape(values, -1).tolist(),
        "masks": [] if masks is None else masks.astype(int).reshape(-1).tolist(),
        "actions": np.reshape(actions, -1).tolist(),
        "log_probs": flat(log_probs),
        "entropies": flat(entropies),
        "log_prob_gradients": flat(gradient(log_probs, tensor)),
        "entropy_gradients": flat(gradient(entropies, tensor)),
    }


def choices(random, name, counts, masked, scale=2.0):
    total = sum(counts)
    values, logits = decimals(random.normal(scale=scale, size=(ROWS, total)))
    logits.requires_grad_()
    masks = None
    if masked:
        masks = random.random((ROWS, total)) < 0.6
        for first, count in zip(np.cumsum([0, *counts[:-1]]), counts):
            masks[np.arange(ROWS), first + random.integers(count, size=ROWS)] = True
        # The lowest number instead of minus infinity, for whose product with 0 torch's entropy has no number.
        masked_logits = logits.masked_fill(~torch.tensor(masks), torch.finfo(torch.float64).min)
    else:
        masked_logits = logits
    components = [Categorical(logits=part) for part in masked_logits.split(counts, dim=1)]
    torch.manual_seed(random.integers(1 << 31))
    actions = torch.stack([component.sample() for component in components], dim=1)
    log_probs = sum(component.log_prob(actions[:, i]) for i, component in enumerate(components))
    entropies = sum(component.entropy() for component in components)
    space = {"discrete": counts[0]} if len(counts) == 1 else {"multi_discrete": counts}
    return case(name, space, (values, logits), actions.tolist(), log_probs, entropies, masks)


def numbers(random, name, low, high, squash, log_stds=(-2.0, 0.7)):
    size = (ROWS, len(low))
    parameters = np.concatenate([random.normal(size=size), random.uniform(*log_stds, size=size)], axis=1)
    values, tensor = decimals(parameters)
    tensor.requires_grad_()
    means, raw = tensor.chunk(2, dim=1)
    stds = raw.clamp(LOG_STD_MIN, LOG_STD_MAX).exp()
    normal = Normal(means, stds)
    actions, u = decimals((means + stds * torch.tensor(random.normal(size=size))).detach().numpy())
    if squash == "none":
        independent = Independent(normal, 1)
        log_probs, entropies = independent.log_prob(u), independent.entropy()
    else:
        low_tensor, high_tensor = torch.tensor(low).double(), torch.tensor(high).double()
        half = (high_tensor - low_tensor) / 2
        transform = ComposeTransform([TanhTransform(), AffineTransform(low_tensor + half, half)])
        squashed = Independent(TransformedDistribution(normal, transform), 1)
        log_probs = squashed.log_prob(transform(u))
        moving = means + stds * ((u - means) / stds).detach()
        entropies = (normal.entropy() + transform.log_abs_det_jacobian(moving, transform(moving))).sum(dim=1)
    space = {"box": {"low": low, "high": high}}
    return case(name, space, (values, tensor), actions, log_probs, entropies, squash=squash)


def main():
    random = np.random.default_rng(1)
    cases = [
        choices(random, "discrete", [5], masked=False),
        choices(random, "one choice", [1], masked=False),
        choices(random, "distant logits", [4], masked=False, scale=60.0),
        choices(random, "discrete, masked", [7], masked=True),
        choices(random, "multi-discrete", [3, 2, 4], masked=False),
        choices(random, "multi-discrete, masked", [3, 1, 6, 2], masked=True),
        numbers(random, "box", [-1.0, -2.0, 0.0], [1.0, 2.0, 5.0], "none"),
        numbers(random, "box, bounds of the deviation", [-1.0, -1.0], [1.0, 1.0], "none", log_stds=(1.0, 3.0)),
        numbers(random, "box, squashed", [-1.0, -2.0, 0.0], [1.0, 2.0, 5.0], "tanh"),
        numbers(random, "box, squashed, one number", [-2.0], [2.0], "tanh"),
    ]
    file = pathlib.Path(__file__).resolve().parents[1] / "policy/tests/data/distribution-cases.json"
    lines = ",\n".join(map(json.dumps, cases))
    file.write_text(f'{{"torch": "{torch.__version__}", "cases": [\n{lines}\n]}}\n')


main()
