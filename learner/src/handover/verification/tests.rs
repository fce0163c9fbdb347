//! Trainer and evaluator by hand, without a thread of either.

use super::*;
use crate::handover::progress::SavedProgress;
use impala_common::trajectory::Episode;

/// Frames between two tries.
const EVERY: u64 = 1000;

fn bench() -> (Verification, Arc<Mutex<Progress>>) {
    let progress = Arc::new(Mutex::new(Progress::new(475.0)));
    (Verification::new(progress.clone(), EVERY), progress)
}

/// An update of 80 frames, in which a hundred episodes of this return end.
fn update(progress: &Mutex<Progress>, episode_return: f32) {
    let episode = Episode { episode_return, length: 1 };
    progress.lock().unwrap().record_update(80, std::iter::repeat_n(episode, 100));
}

/// The policy of now.
fn candidate(progress: &Mutex<Progress>) -> Candidate {
    let progress = progress.lock().unwrap();
    let (attempt, version) = (progress.tries.count + 1, WeightsVersion(progress.updates));
    let parameters = vec![progress.updates as f32].into();
    Candidate { attempt, version, frames: progress.frames, seconds: 0.5, parameters }
}

fn verdict(updates: u64, mean: f64, is_reached: bool) -> Verdict {
    let score = Score { episodes: 100, mean, min: mean, max: mean, cut: 0 };
    Verdict { version: WeightsVersion(updates), mode: Mode::Greedy, score, is_reached }
}

#[test]
fn what_is_solved_is_the_candidate_however_far_training_went_meanwhile() {
    let (verification, progress) = bench();
    update(&progress, 480.0);
    assert!(progress.lock().unwrap().is_try_due());
    assert_eq!(progress.lock().unwrap().solved, None, "the training mean alone solves nothing");
    assert!(verification.propose(candidate(&progress)));
    assert!(progress.lock().unwrap().is_verifying && !progress.lock().unwrap().is_try_due());
    let taken = verification.next().unwrap();
    assert_eq!((taken.attempt, taken.version.0, taken.frames), (1, 1, 80));
    update(&progress, 470.0);
    update(&progress, 490.0);
    verification.decide(verdict(1, 478.5, true));
    assert!(verification.wait() && !verification.is_pending());
    let progress = progress.lock().unwrap();
    assert_eq!(progress.solved.map(|solved| (solved.frames, solved.seconds)), Some((80, 0.5)));
    let verified = progress.verified.as_ref().unwrap();
    assert_eq!((verified.version.0, verified.frames, &verified.parameters[..]), (1, 80, &[1.0][..]));
    assert_eq!((progress.frames, progress.worst_after_solved), (240, Some(470.0)));
    assert_eq!((progress.tries.count, progress.tries.last.unwrap().mean), (1, 478.5));
    assert!(!progress.is_verifying && !progress.is_try_due());
}

#[test]
fn tries_follow_each_other_at_the_stated_interval_and_the_best_is_remembered() {
    let (verification, progress) = bench();
    let mut tried = Vec::new();
    for means in [300.0, 431.25, 200.0] {
        while !progress.lock().unwrap().is_try_due() {
            update(&progress, 500.0);
        }
        let candidate = candidate(&progress);
        tried.push((candidate.attempt, candidate.frames));
        let updates = candidate.version.0;
        verification.propose(candidate);
        update(&progress, 500.0);
        verification.decide(verdict(updates, means, false));
    }
    // From candidate to candidate, rounded up to whole updates.
    assert_eq!(tried, [(1, 80), (2, 1120), (3, 2160)]);
    let mut progress = progress.lock().unwrap();
    assert_eq!((progress.solved, progress.worst_after_solved), (None, None));
    assert_eq!((progress.tries.next, progress.tries.best_mean), (3160, Some(431.25)));
    // Also where a process goes on from a checkpoint.
    let saved: SavedProgress = serde_json::from_str(&serde_json::to_string(&progress.save()).unwrap()).unwrap();
    saved.validate().unwrap();
    let resumed = Progress::new(475.0).resume(saved, None);
    assert_eq!(resumed.tries, progress.tries);
    progress.frames = 3160;
    assert!(progress.is_try_due() && !resumed.is_try_due());
}

#[test]
fn a_try_needs_a_hundred_episodes_whose_mean_is_the_goal() {
    let (_, progress) = bench();
    let mut progress = progress.lock().unwrap();
    let episode = |episode_return| Episode { episode_return, length: 1 };
    progress.record_update(80, std::iter::repeat_n(episode(500.0), 99));
    assert!(!progress.is_try_due());
    progress.record_update(80, std::iter::once(episode(500.0)));
    assert!(progress.is_try_due());
    progress.record_update(80, std::iter::repeat_n(episode(0.0), 10));
    assert!(!progress.is_try_due());
}

#[test]
fn a_stop_gives_up_what_is_under_way_and_leaves_no_trace_of_it() {
    let (verification, progress) = bench();
    update(&progress, 500.0);
    let before = progress.lock().unwrap().save();
    verification.propose(candidate(&progress));
    verification.next().unwrap();
    verification.stop();
    assert!(verification.is_stopped() && !verification.wait(), "there is no verdict");
    verification.decide(verdict(1, 500.0, true));
    let after = progress.lock().unwrap().save();
    assert_eq!((after.tries, after.solved, after.worst_after_solved), (before.tries, None, None));
    assert_eq!(verification.next(), None);
    assert!(!verification.propose(candidate(&progress)), "nobody evaluates any more");
}

#[test]
fn a_try_that_nobody_could_make_is_put_off_and_counts_for_nothing() {
    let (verification, progress) = bench();
    update(&progress, 500.0);
    let candidate = candidate(&progress);
    verification.propose(candidate.clone());
    let others = Candidate { version: WeightsVersion(7), ..candidate.clone() };
    verification.put_off(&others, "out of reach");
    assert!(verification.is_pending());
    verification.put_off(&candidate, "out of reach");
    assert!(verification.wait() && !verification.is_pending(), "nobody waits for it");
    let mut progress = progress.lock().unwrap();
    assert_eq!((progress.tries.count, progress.tries.next, progress.is_verifying), (0, 1080, false));
    assert!(!progress.is_try_due());
    progress.frames = 1080;
    assert!(progress.is_try_due());
}

#[test]
fn a_verdict_on_another_policy_is_dropped() {
    let (verification, progress) = bench();
    verification.decide(verdict(1, 500.0, true));
    update(&progress, 500.0);
    update(&progress, 500.0);
    verification.propose(candidate(&progress));
    verification.decide(verdict(1, 500.0, true));
    assert!(verification.is_pending() && progress.lock().unwrap().solved.is_none());
}

#[test]
fn returns_that_are_no_numbers_reach_nothing_and_are_not_remembered() {
    let (verification, progress) = bench();
    update(&progress, 500.0);
    verification.propose(candidate(&progress));
    verification.decide(verdict(1, f64::INFINITY, true));
    let progress = progress.lock().unwrap();
    assert_eq!(
        (progress.solved, progress.tries.count, progress.tries.last, progress.tries.best_mean),
        (None, 1, None, None)
    );
}

#[tokio::test]
async fn who_watches_hears_of_a_verdict_that_came_before_it_listened() {
    let (verification, progress) = bench();
    update(&progress, 500.0);
    verification.propose(candidate(&progress));
    verification.decide(verdict(1, 400.0, false));
    verification.decided().await;
}

#[test]
fn tries_that_no_run_makes_are_refused() {
    let (verification, progress) = bench();
    update(&progress, 500.0);
    verification.propose(candidate(&progress));
    verification.decide(verdict(1, 480.0, true));
    let sound = progress.lock().unwrap().save();
    sound.validate().unwrap();
    let refusal = |change: fn(&mut SavedProgress)| {
        let mut saved = sound.clone();
        change(&mut saved);
        saved.validate().unwrap_err()
    };
    assert_eq!(refusal(|saved| saved.updates = 0), "a verified policy of update 1, at most 0");
    assert_eq!(refusal(|saved| saved.frames = 79), "solved after 80 frames, at most 79");
    assert!(refusal(|saved| saved.tries.best_mean = Some(1e300)).contains("a return of 1e300"));
    let told = refusal(|saved| saved.tries.last.as_mut().unwrap().episodes = 0);
    assert!(told.starts_with("a try whose returns are mean 480"), "{told}");
}
