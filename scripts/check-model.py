"""Runs the code of docs/how-to/a-model-in-numpy.md on a model of CartPole, in the CartPole of examples/python-actor.

    python3 scripts/check-model.py MODEL

Fails unless the greedy policy reaches a mean return of 475 over 100 episodes.
"""

import importlib.util
import pathlib
import sys

import numpy as np

root = pathlib.Path(__file__).resolve().parents[1]
document = (root / "docs/how-to/a-model-in-numpy.md").read_text()
code = {}
exec(document.split("```python\n")[1].split("```")[0], code)

spec = importlib.util.spec_from_file_location("actor", root / "examples/python-actor/actor.py")
actor = importlib.util.module_from_spec(spec)
spec.loader.exec_module(actor)

model, description = code["load"](sys.argv[1])
environments = 100
cartpole = actor.CartPole(environments, np.random.default_rng(1))
returns, over = np.zeros(environments), np.zeros(environments, bool)
while not over.all():
    logits, values = code["evaluate"](model, description, cartpole.state.astype(np.float32))
    assert values.shape == (environments,)
    rewards, outcomes, _ = cartpole.step(logits.argmax(axis=1))
    returns += np.where(over, 0, rewards)
    over |= outcomes > 0
print(f"{description['environment']}, {description['activation']}: mean return {returns.mean():.1f} over {environments} episodes")
sys.exit(0 if returns.mean() >= 475 else 1)
