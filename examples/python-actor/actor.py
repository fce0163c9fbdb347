"""An actor in Python: CartPole for an IMPALA learner, written from proto/impala/v1/impala.proto and docs/protocol.md alone.

    pip install -r examples/python-actor/requirements.txt
    python3 examples/python-actor/actor.py --learner 127.0.0.1:50051

It steps the environments of the agreement with the newest weights, sends each unroll as a trajectory, and ends with the run.
"""

import argparse
import os
import pathlib
import queue
import sys
import zlib

import grpc
import numpy as np
import zstandard

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "proto"))
pb, rpc = grpc.protos_and_services("impala/v1/impala.proto")

ACTIVATIONS = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0)}


class CartPole:
    """N environments; the physics of Barto, Sutton and Anderson (1983), with the limits of Gymnasium's CartPole-v1."""

    STEPS_MAX = 500

    def __init__(self, n, rng):
        self.rng, self.state, self.steps = rng, rng.uniform(-0.05, 0.05, (n, 4)), np.zeros(n, int)

    def step(self, actions):
        """Actions [N] to rewards [N], outcomes [N] (0 goes on, 1 terminated, 2 truncated), and the last state of who is truncated."""
        x, v, angle, w = self.state.T
        force, sin, cos = np.where(actions == 1, 10.0, -10.0), np.sin(angle), np.cos(angle)
        pull = (force + 0.05 * w**2 * sin) / 1.1
        turn = (9.8 * sin - cos * pull) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
        slide = pull - 0.05 * turn * cos / 1.1
        self.state = self.state + 0.02 * np.stack([v, slide, w, turn], axis=1)
        self.steps += 1
        fallen = (np.abs(self.state[:, 0]) > 2.4) | (np.abs(self.state[:, 2]) > 12 * np.pi / 180)
        outcomes = np.where(fallen, 1, np.where(self.steps >= self.STEPS_MAX, 2, 0)).astype(np.uint8)
        final = self.state[outcomes == 2].copy()
        over = outcomes > 0
        # The next observation of an environment whose episode is over is already that of the next episode.
        self.state[over] = self.rng.uniform(-0.05, 0.05, (over.sum(), 4))
        self.steps[over] = 0
        return np.ones(len(actions), np.float32), outcomes, final


# As the learner has it: four numbers are seen, one of two actions is chosen.
SPEC = pb.EnvironmentSpec(
    name="cartpole-v1",
    observations=pb.ObservationSpace(shape=[4], dtype=pb.DTYPE_F32),
    actions=pb.ActionSpace(discrete=2),
)


class Policy:
    """The agreed network with the parameters of a snapshot."""

    def __init__(self, network, snapshot):
        payload = snapshot.payload
        if not snapshot.stored:
            # Byte 0 of every number, then byte 1 of every number, and so on.
            planes = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True).decompress(payload)
            payload = np.frombuffer(planes, np.uint8).reshape(4, -1).T.tobytes()
        if zlib.crc32(payload) != snapshot.checksum:
            raise ValueError("the weights are damaged")
        numbers, at, self.layers, inputs = np.frombuffer(payload, "<f4"), 0, [], network.observation_len
        sizes = [*network.hidden, network.head.choices.choices[0]]
        for outputs in sizes:
            weight = numbers[at : at + inputs * outputs].reshape(inputs, outputs)
            at += inputs * outputs
            self.layers.append((weight, numbers[at : at + outputs]))
            at, inputs = at + outputs, outputs
        # What follows is the value head, which an actor does not need, and at the end what observations are normalised by.
        ends = numbers[-2 * network.observation_len :] if network.normalises else [0, 1]
        self.mean, self.scale = np.split(np.asarray(ends, "<f4"), 2)
        self.bound = 10 if network.normalises else np.inf
        self.version, self.activation = snapshot.version, ACTIVATIONS[network.activation]

    def act(self, observations, rng):
        """Observations [N, O] to sampled actions [N] and their log-probabilities [N]."""
        x = np.clip((observations - self.mean) * self.scale, -self.bound, self.bound)
        for weight, bias in self.layers[:-1]:
            x = self.activation(x @ weight + bias)
        logits = x @ self.layers[-1][0] + self.layers[-1][1]
        log_probs = logits - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, keepdims=True)) - logits.max(1, keepdims=True)
        actions = (log_probs + rng.gumbel(size=log_probs.shape)).argmax(1)
        return actions.astype(np.uint8), np.minimum(log_probs[np.arange(len(actions)), actions], 0)


def unroll(environments, policy, rng, agreement, sequence):
    """One trajectory: T steps of N environments, made with one version of the weights."""
    rows = {name: [] for name in ["observations", "actions", "log_probs", "rewards", "outcomes", "finals"]}
    for _ in range(agreement.unroll_length):
        rows["observations"].append(environments.state)
        actions, log_probs = policy.act(environments.state, rng)
        rewards, outcomes, final = environments.step(actions)
        for name, row in zip(["actions", "log_probs", "rewards", "outcomes", "finals"], [actions, log_probs, rewards, outcomes, final]):
            rows[name].append(row)
    rows["observations"].append(environments.state)
    floats = lambda name: np.concatenate(rows[name]).astype("<f4").tobytes()  # noqa: E731
    return pb.Trajectory(
        sequence=sequence,
        weights_version=policy.version,
        unroll_length=agreement.unroll_length,
        environments=agreement.environments_per_actor,
        observations=floats("observations"),
        actions=np.concatenate(rows["actions"]).tobytes(),
        behaviour_log_probs=floats("log_probs"),
        rewards=floats("rewards"),
        outcomes=np.concatenate(rows["outcomes"]).tobytes(),
        final_observations=floats("finals"),
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--learner", default="127.0.0.1:50051", metavar="HOST:PORT", help="where it listens (%(default)s)")
    arguments.add_argument("--compressed", action="store_true", help="take compressed weights from a learner on this machine too")
    arguments = arguments.parse_args()
    channel = grpc.insecure_channel(arguments.learner, options=[("grpc.max_receive_message_length", -1)])
    learner = rpc.LearnerStub(channel)
    agreement = learner.Register(
        pb.RegisterRequest(
            protocol_version=3,
            actor_name=f"python-{os.getpid()}",
            incarnation=int.from_bytes(os.urandom(8), "big"),
            environments=[SPEC],
            encodings=[pb.ENCODING_F32],
            weights_in_receipts=True,
            stored_payloads=not arguments.compressed,
        ),
        wait_for_ready=True,
    )
    rng = np.random.default_rng([agreement.seed, agreement.actor_index])
    environments, requests, sequence, policy = CartPole(agreement.environments_per_actor, rng), queue.Queue(), 0, None
    requests.put(pb.PushRequest(open=pb.Open(session=agreement.session)))
    for reply in learner.PushTrajectories(iter(requests.get, None)):
        if reply.HasField("finish"):
            print(f"the run is over: {reply.finish.reason}; {sequence} trajectories were made")
            requests.put(pb.PushRequest(farewell=pb.Farewell(produced=sequence)))
            requests.put(None)
            continue
        snapshot = reply.weights if reply.HasField("weights") else reply.receipt.weights
        if snapshot.payload:
            policy = Policy(agreement.network, snapshot)
        # One trajectory is under way at a time: the next one follows the first weights, and then each receipt.
        if reply.HasField("weights") or reply.receipt.disposition != pb.DISPOSITION_SHUTDOWN:
            requests.put(pb.PushRequest(trajectory=unroll(environments, policy, rng, agreement, sequence)))
            sequence += 1


if __name__ == "__main__":
    main()
