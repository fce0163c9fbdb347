"""The worker, spoken with over its pipes as docs/worker-protocol.md says; scripts/check-gym.sh runs this with the package installed."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import unittest

import numpy as np

HEADER = struct.Struct("<IB3x")
START, OBSERVE, STEP, RENDER = 1, 2, 3, 4
HELLO, DESCRIBED, OBSERVED, STEPPED, RENDERED, FAILED = range(129, 135)


class Client:
    """The actor's side of a worker."""

    def __init__(self, environment, seeds=(1, 2, 3), render=False, **arguments):
        """Start a worker and tell it what to make."""
        command = [sys.executable, "-m", "impala_gym"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        kind, self.hello = self.receive()
        assert kind == HELLO
        start = {"environment": environment, "arguments": arguments, "seeds": list(seeds), "render": render}
        self.send(START, json.dumps(start).encode())

    def send(self, kind, payload=b""):
        """One request."""
        self.process.stdin.write(HEADER.pack(len(payload), kind) + payload)
        self.process.stdin.flush()

    def receive(self):
        """One answer."""
        length, kind = HEADER.unpack(self.process.stdout.read(HEADER.size))
        return kind, self.process.stdout.read(length)

    def ask(self, kind, payload=b""):
        """One of each."""
        self.send(kind, payload)
        return self.receive()

    def end(self):
        """Let go of its input; gives status, what is left of its output, and what it printed."""
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err.decode()


class TheWorker(unittest.TestCase):
    """Names are what is tested."""

    def start(self, *arguments, **keywords):
        """A client whose process is gone at the end of the test."""
        client = Client(*arguments, **keywords)
        self.addCleanup(client.process.stderr.close)
        self.addCleanup(client.process.wait)
        self.addCleanup(client.process.kill)
        self.addCleanup(client.process.stdout.close)
        self.addCleanup(client.process.stdin.close)
        return client

    def test_says_what_it_is_and_what_the_environment_is(self):
        """The first two answers."""
        client = self.start("CartPole-v1")
        self.assertEqual(client.hello, b"IMPW" + struct.pack("<I", 1))
        kind, payload = client.receive()
        self.assertEqual(kind, DESCRIBED)
        self.assertEqual(
            json.loads(payload),
            {
                "observations": {"dtype": "f32", "shape": [4]},
                "actions": {"discrete": 2},
                "masked": False,
                "autoreset": "same_step",
                "solved_return": 475.0,
                "steps_max": 500,
                "steps_per_second": 50,
            },
        )
        self.assertEqual(client.end(), (0, b"", ""))

    def test_shows_again_what_the_last_step_showed(self):
        """Observing changes nothing."""
        client = self.start("CartPole-v1")
        client.receive()
        first = client.ask(OBSERVE)
        self.assertEqual((first[0], len(first[1])), (OBSERVED, 48))
        kind, payload = client.ask(STEP, bytes([0, 1, 0]))
        self.assertEqual((kind, len(payload)), (STEPPED, 48 + 3 * 5))
        again = client.ask(OBSERVE)
        self.assertEqual(again[1], payload[:48])
        self.assertNotEqual(again, first)

    def test_keeps_what_environments_print_out_of_its_answers(self):
        """By Python and by a library that writes to the descriptor."""
        client = self.start("own_environments:Own-v0", fault="print")
        client.receive()
        for _ in range(4):
            kind, _ = client.ask(STEP, bytes([1, 1, 1]))
            self.assertEqual(kind, STEPPED)
        status, out, err = client.end()
        self.assertEqual((status, out), (0, b""))
        self.assertEqual(err.count("printed by an environment"), 3)
        self.assertEqual(err.count("written by a library"), 3)

    def test_tells_what_an_environment_raised(self):
        """With the traceback."""
        client = self.start("own_environments:Own-v0", fault="raise")
        client.receive()
        client.ask(STEP, bytes([1, 1, 1]))
        client.ask(STEP, bytes([1, 1, 1]))
        kind, payload = client.ask(STEP, bytes([1, 1, 1]))
        failure = json.loads(payload)
        self.assertEqual((kind, failure["kind"]), (FAILED, "raised"))
        self.assertIn("reward = 1 // 0", failure["traceback"])
        self.assertEqual(client.end()[0], 1)

    def test_refuses_what_is_no_request_of_the_protocol(self):
        """A kind that there is not, and actions of another length."""
        for kind, payload, told in [(9, b"", "requests of kind 9 are unknown"), (STEP, b"\0", "a step has 1 bytes, 3 actions have 3")]:
            client = self.start("CartPole-v1")
            client.receive()
            answer, failure = client.ask(kind, payload)
            self.assertEqual(answer, FAILED)
            self.assertIn(told, json.loads(failure)["message"])

    def test_outlives_an_interrupt_and_ends_with_its_input(self):
        """Also in the middle of a request."""
        client = self.start("CartPole-v1")
        client.receive()
        client.process.send_signal(signal.SIGINT)
        self.assertEqual(client.ask(OBSERVE)[0], OBSERVED)
        os.write(client.process.stdin.fileno(), b"\1\0")
        self.assertEqual(client.end()[0], 1)

    def test_ends_with_its_input_also_while_an_environment_hangs(self):
        """The actor may have been killed, and then nobody else ends it."""
        client = self.start("own_environments:Own-v0", fault="hang")
        client.receive()
        client.ask(STEP, bytes([1, 1, 1]))
        client.ask(STEP, bytes([1, 1, 1]))
        client.send(STEP, bytes([1, 1, 1]))
        self.assertEqual(client.end()[0], 1)

    def test_draws_what_it_was_asked_for(self):
        """The size comes first."""
        client = self.start("own_environments:Own-v0", render=True)
        client.receive()
        kind, payload = client.ask(RENDER, struct.pack("<I", 2))
        self.assertEqual((kind, struct.unpack_from("<II", payload), len(payload)), (RENDERED, (2, 3), 8 + 18))

    def test_takes_requests_and_gives_answers_of_any_size(self):
        """Larger than a pipe holds, so that both come in pieces."""
        count = 2000
        client = self.start("own_environments:Own-v0", seeds=range(count), observations="pixels", actions="box")
        client.receive()
        kind, payload = client.ask(STEP, np.ones((count, 2), "<f4").tobytes())
        self.assertEqual(kind, STEPPED)
        rewards = np.frombuffer(payload, "<f4", count, count * 60)
        self.assertTrue(((rewards >= 2) & (rewards < 3)).all())


if __name__ == "__main__":
    unittest.main()
