"""The harness's own rules, without any peer: `python3 -m unittest discover -s benches/peers/tests`."""

import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import processes, report
from harness.measure import Figures
from harness.sources import Tail, parse_impala_csv, parse_json, parse_thrust_log


class FiguresTest(unittest.TestCase):
    def test_solved_when_the_mean_of_the_last_100_episodes_reaches_475(self):
        figures = Figures()
        for second in range(100):
            figures.add({"t": second, "frames": 10 * second})
            figures.add({"t": second, "episode": 0.0 if second < 6 else 500.0})
        self.assertFalse(figures.is_solved)
        figures.add({"t": 100.0, "episode": 500.0})
        self.assertEqual((figures.solved_s, figures.solved_frames), (100.0, 990))
        self.assertEqual(figures.first_episode_s, 0)

    def test_fewer_than_100_episodes_never_solve(self):
        figures = Figures()
        figures.add({"t": 1.0, "episodes": 99, "mean_return": 500.0})
        self.assertFalse(figures.is_solved)
        figures.add({"t": 2.0, "episodes": 100, "mean_return": 475.0})
        self.assertTrue(figures.is_solved)

    def test_frames_per_second_leave_out_what_lies_before_the_first_progress(self):
        figures = Figures()
        for t, frames in [(1.0, 0), (50.0, 1000), (60.0, 2000), (70.0, 5000)]:
            figures.add({"t": t, "frames": frames})
        self.assertEqual(figures.frames_per_second(), 200.0)


class SourcesTest(unittest.TestCase):
    def test_incomplete_lines_wait_for_their_rest(self):
        with tempfile.TemporaryDirectory() as place:
            path = Path(place, "events")
            tail = Tail(lambda: path, parse_json)
            self.assertEqual(tail.events(1.0), [])
            path.write_text('{"episode": 1}\n{"epi')
            self.assertEqual(tail.events(2.0), [{"t": 2.0, "episode": 1}])
            with path.open("a") as file:
                file.write('sode": 2, "t": 2.5}\n')
            self.assertEqual(tail.events(3.0), [{"t": 2.5, "episode": 2}])
            tail.close()

    def test_a_peers_own_clock_is_laid_on_ours(self):
        with tempfile.TemporaryDirectory() as place:
            path = Path(place, "metrics.csv")
            path.write_text(
                "seconds,frames,updates,episodes,frames_per_second,mean_return\n0.5,0,0,0,0,\n1.5,80,1,4,80,21.5\n"
            )
            tail = Tail(lambda: path, parse_impala_csv)
            first, second = tail.events(10.0)
            self.assertEqual(first, {"t": 10.0, "frames": 0, "episodes": 0})
            self.assertEqual(second, {"t": 11.0, "frames": 80, "episodes": 4, "mean_return": 21.5})
            tail.close()

    def test_thrust_progress_lines_are_read_and_others_are_not(self):
        line = "INFO update   7/195  env_steps=   7168  episodes= 312  mean_ep_reward(last≤100)=  22.8  policy_loss=0.1"
        self.assertEqual(parse_thrust_log(line), {"frames": 7168, "episodes": 312, "mean_return": 22.8})
        self.assertIsNone(parse_thrust_log("INFO learner broadcast policy version 7 to 4/4 actors"))


class ProcessesTest(unittest.TestCase):
    def test_a_daemon_that_leaves_its_session_is_measured_and_ended(self):
        processes.adopt_orphans()
        detached = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)"
        with processes.ProcessTree([sys.executable, "-c", detached], None, "/", subprocess.DEVNULL) as tree:
            while tree.exit_status() is None:
                time.sleep(0.01)
            left = processes.descendants()
            self.assertEqual(len(left), 1)
            self.assertGreater(processes.resident_bytes(left), 0)
            processes.GRACE_S = 0.0
        self.assertEqual(processes.descendants(), [])


class ReportTest(unittest.TestCase):
    def test_ratios_say_how_many_times_better_ours_is(self):
        ours = {"solve": {"wall_s_to_solve": 0.5, "frames_to_solve": 80, "frames_per_s": 400.0, "peak_pss_bytes": 50}}
        theirs = {"solve": {"wall_s_to_solve": None, "wall_s": 180.0, "frames_per_s": 4.0, "peak_rss_bytes": 500}}
        found = report.ratios(theirs, ours)
        self.assertEqual(
            (found["solve_frames_per_s"], found["wall_to_solve"], found["solve_memory"]), (100.0, 360.0, 10.0)
        )
        self.assertIsNone(found["frames_to_solve"])


if __name__ == "__main__":
    unittest.main()
