"""From events to figures: the one place that decides what solved, frames and frames/s mean, the same for every peer.

Fed by `sources`; an event is a dictionary with the time `t` (seconds since the peer's start) and any of
- `frames`: environment frames trained so far,
- `episode`: undiscounted return of a training episode that has just ended,
- `episodes` and `mean_return`: for peers that report only how many episodes have ended and the mean of the last 100.
"""

from collections import deque

SOLVED_RETURN = 475.0
WINDOW = 100


class Figures:
    """Grows with every event."""

    def __init__(self):
        self.last_returns = deque(maxlen=WINDOW)
        self.episodes = 0
        self.frames = 0
        self.best_mean = None
        self.first_episode_s = None
        self.solved_s = None
        self.solved_frames = None
        self._first_progress = self._last_progress = None

    @property
    def is_solved(self):
        return self.solved_s is not None

    def add(self, event):
        """Takes one event in."""
        t = event["t"]
        if (frames := event.get("frames")) and frames > self.frames:
            self.frames = frames
            self._last_progress = (t, frames)
            self._first_progress = self._first_progress or self._last_progress
        mean = None
        if "episode" in event:
            self.last_returns.append(event["episode"])
            self.episodes += 1
            mean = sum(self.last_returns) / len(self.last_returns)
        elif "episodes" in event:
            self.episodes = event["episodes"]
            mean = event.get("mean_return")
        if self.episodes and self.first_episode_s is None:
            self.first_episode_s = t
        if mean is not None and self.episodes >= WINDOW:
            self.best_mean = max(mean, self.best_mean or mean)
            if mean >= SOLVED_RETURN and not self.is_solved:
                self.solved_s, self.solved_frames = t, self.frames

    def frames_per_second(self):
        """Frames trained between the first and the last report of progress, over the time between: start-up and the
        first update are left out. None before the second report."""
        if self._first_progress is None or self._first_progress == self._last_progress:
            return None
        (t0, frames0), (t1, frames1) = self._first_progress, self._last_progress
        return (frames1 - frames0) / (t1 - t0)

    def as_dict(self):
        return {
            "solved": self.is_solved,
            "wall_s_to_solve": self.solved_s,
            "frames_to_solve": self.solved_frames,
            "best_mean_return": self.best_mean,
            "first_episode_s": self.first_episode_s,
            "frames_per_s": self.frames_per_second(),
            "frames": self.frames,
            "episodes": self.episodes,
        }
