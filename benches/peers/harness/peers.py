"""Who is compared, how each is installed and started, and where its events come from.

Two runs each. `solve`: the settings that the peer's own documentation gives for CartPole (ours: the defaults), until
solved. `throughput`: 5,120 frames an update for everybody, `solve`'s settings otherwise.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from . import install
from .sources import Tail, parse_impala_csv, parse_json, parse_thrust_log

THRUST_VERSION = "0.4.0"
ENDLESS = 10**9
"""Frames that no run reaches: the harness ends it."""


@dataclass
class Launch:
    """What the harness starts and reads; `end_status`: with what a throughput run that comes to its end exits."""

    command: list
    source: Tail
    env: dict = field(default_factory=dict)
    end_status: int = 0


@dataclass(frozen=True)
class Peer:
    """`install(cache)` gives the program or python; `launch(installed, mode, seed, scratch, log)` gives a Launch."""

    name: str
    title: str
    settings: str
    versions: dict
    install: Callable
    launch: Callable


def _launch_impala(program, mode, seed, scratch, _log):
    runs = scratch / "runs"
    command = [
        str(program),
        "train",
        "--quiet",
        "--seed",
        str(seed),
        "--runs-dir",
        str(runs),
        "--listen",
        "127.0.0.1:0",
    ]
    if mode == "solve":
        command += ["--report-interval", "0.05"]
    else:
        command += "--actors 1 --environments-per-actor 256 --batch-size 256 --unroll-length 20".split()
        command += "--frames-max 6000000 --solved-return 1e9".split()
    source = Tail(lambda: next(runs.glob("*/metrics.csv"), None), parse_impala_csv)
    return Launch(command, source, end_status=1)  # 1 says: budget used up, not solved.


def _launch_thrust(program, mode, seed, _scratch, log):
    env = {"USE_VTRACE": "1", "SEED": str(seed), "TOTAL_TIMESTEPS": str(ENDLESS), "NO_COLOR": "1"}
    if mode == "throughput":
        env["NUM_ACTORS"] = "20"  # An actor has one environment and sends 256 steps: 5,120 frames an update.
    return Launch([str(program)], Tail(lambda: log, parse_thrust_log), env)


def _launch_adapter(adapter, *options):
    def launch(python, mode, seed, scratch, _log):
        events = scratch / "events.jsonl"
        script = install.HERE / "adapters" / f"{adapter}.py"
        command = [str(python), str(script), *options, "--mode", mode, "--seed", str(seed), "--scratch", str(scratch)]
        return Launch(command, Tail(lambda: events, parse_json), {"PEER_EVENTS": str(events)})

    return launch


def _python_peer(name, title, settings, family, adapter, *options):
    versions = {"python": sys.version.split()[0], **install.pins("torch"), **install.pins(family)}
    return Peer(
        name,
        title,
        settings,
        versions,
        lambda cache: install.environment(cache, family),
        _launch_adapter(adapter, *options),
    )


PEERS = [
    Peer(
        "impala",
        "impala (ours)",
        "the defaults",
        install.our_version(),
        install.our_program,
        _launch_impala,
    ),
    Peer(
        "thrust-rl",
        "thrust-rl, asynchronous PPO with V-trace",
        "its example's: 4 actor threads, T=256, 10 epochs",
        {"thrust-rl": THRUST_VERSION},
        lambda cache: install.crate_example(cache, "thrust-rl", THRUST_VERSION, "train_cartpole_async"),
        _launch_thrust,
    ),
    _python_peer(
        "sb3-a2c", "stable-baselines3 A2C", "rl-zoo's: 8 environments, T=5", "sb3", "train_sb3", "--algorithm", "a2c"
    ),
    _python_peer(
        "sb3-ppo",
        "stable-baselines3 PPO",
        "rl-zoo's: 8 environments, T=32, 20 epochs",
        "sb3",
        "train_sb3",
        "--algorithm",
        "ppo",
    ),
    _python_peer(
        "sample-factory",
        "Sample Factory APPO",
        "its gym example's: 20 environments a worker, batch 512",
        "sample_factory",
        "train_sample_factory",
    ),
    _python_peer(
        "rllib-impala",
        "RLlib IMPALA",
        "its tuned example's: 2 runners x 1 environment, batch 500",
        "rllib",
        "train_rllib",
    ),
]
