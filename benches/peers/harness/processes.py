"""A peer as a process tree: started, measured and ended as a whole.

Knows nothing of peers. This program makes itself the reaper of its orphaned descendants, so that a daemon which leaves
its parent and its process group (Ray's do) stays below us, where it is measured and ended like the rest.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
GRACE_S = 4.0
"""Between the request to end and the kill; Sample Factory and Ray take one to two seconds."""


def adopt_orphans():
    """From now on orphans below this process become its children. Raises OSError where the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become a subreaper")


def descendants():
    """Process ids of all living descendants of this process."""
    children = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            stat = Path("/proc", entry, "stat").read_text()
        except OSError:
            continue  # Ended meanwhile.
        state, parent = stat.rpartition(")")[2].split()[
            :2
        ]  # A command's name may contain anything but ends at the last ')'.
        if state != "Z":
            children.setdefault(int(parent), []).append(int(entry))
    found, todo = [], [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def resident_bytes(pids):
    """Sum of resident set sizes: memory shared between processes counts once for each of them."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # Ended meanwhile.
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    return total


def proportional_bytes(pids):
    """Sum of proportional set sizes: shared memory counts once in all. None where the kernel does not tell."""
    total = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # Ended meanwhile.
        except OSError:
            return None
        total += next((int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:")), 0)
    return total


class Memory:
    """Peaks of the tree's memory. Sampled 5 times a second, in the first 2 s 20 times, because ours ends within one."""

    def __init__(self, start):
        self.start = start
        self.peak_rss, self.peak_pss = 0, None
        self.next_rss = self.next_pss = start

    def sample(self, now):
        """Takes the samples that are due."""
        if now < self.next_rss:
            return
        self.next_rss = now + (0.05 if now - self.start < 2.0 else 0.2)
        pids = descendants()
        self.peak_rss = max(self.peak_rss, resident_bytes(pids))
        if now >= self.next_pss:
            begun = time.monotonic()
            pss = proportional_bytes(pids)
            # The kernel walks every page table for this, on the peer's cores: it may cost 1 % of one of them.
            self.next_pss = now + 100 * (time.monotonic() - begun)
            if pss is not None:
                self.peak_pss = max(self.peak_pss or 0, pss)


def kill_descendants():
    """Ends all descendants of this process at once; returns when none is left."""
    while left := descendants():
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def remove_shared_memory(pids):
    """Removes what processes that were killed have left in /dev/shm: PyTorch names its files by the process."""
    for pid in pids:
        for path in Path("/dev/shm").glob(f"torch_{pid}_*"):
            path.unlink(missing_ok=True)


class ProcessTree:
    """One running peer and everything that it starts. As a context manager it leaves no process behind."""

    def __init__(self, command, env, cwd, log):
        self.start = time.monotonic()
        self.process = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def exit_status(self):
        """Exit status of the first process, None while it runs."""
        return self.process.poll()

    def end(self):
        """Asks the first process to end, waits GRACE_S for the tree, kills what is left and cleans up after it."""
        pids = descendants()
        if self.process.poll() is None:
            self.process.terminate()
        deadline = time.monotonic() + GRACE_S
        while descendants() and time.monotonic() < deadline:
            time.sleep(0.02)
        kill_descendants()
        self.process.wait()
        remove_shared_memory(pids)
