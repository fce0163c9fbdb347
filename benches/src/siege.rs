//! A learner under attack: what peers that are up to no good can do to a run, beside the same attack on another process.

pub mod attacks;
pub mod garrison;

use crate::{line, note};
use attacks::{Attack, Target};
use garrison::{Bystander, Victim};
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Time that a learner has to come to rest after an attack.
const REST: Duration = Duration::from_secs(3);
/// What is measured of an attack begins so long after it: until then a learner may be learning what it is.
const NOTICE: Duration = Duration::from_secs(1);

/// One attack's effect on a run that goes on.
#[derive(Clone, Debug, Default)]
pub struct Effect {
    /// Frames a second while the attack is on another process, and while it is on this one, round by round.
    pub frames_per_second: Vec<[f64; 2]>,
    /// Most memory of the learner before and in the attack, bytes.
    pub memory: [u64; 2],
}

/// Attacks a run and another process in turn and tells how much of its speed is left.
///
/// # Errors
/// A program cannot be started, or the run has ended.
pub fn speed(program: &Path, attack: Attack, rounds: u32, time: Duration) -> anyhow::Result<Effect> {
    let planned = (NOTICE + time + REST) * 2 * rounds + REST * 2;
    let bystander = Bystander::start(program, &[])?;
    let victim = Victim::start(program, planned + Duration::from_secs(30))?;
    std::thread::sleep(REST);
    let mut windows = Vec::new();
    let mut effect = Effect { memory: [victim.memory()?; 2], ..Effect::default() };
    for round in 0..rounds {
        note(&format!("  {}: round {} of {rounds}", attack.name(), round + 1));
        let mut pair = [(0.0, 0.0); 2];
        for (place, target) in [bystander.target(), victim.target()].into_iter().enumerate() {
            let besieged = Siege::begin(attack, target);
            std::thread::sleep(NOTICE);
            let from = victim.age();
            std::thread::sleep(time);
            pair[place] = (from, victim.age());
            effect.memory[1] = effect.memory[1].max(victim.memory()?);
            besieged.end();
            std::thread::sleep(REST);
        }
        windows.push(pair);
    }
    let frames = victim.end()?;
    effect.frames_per_second = windows.into_iter().map(|pair| pair.map(|window| frames.a_second(window))).collect();
    Ok(effect)
}

/// Attacks a learner that has nothing else to do and tells its memory.
///
/// # Errors
/// A program cannot be started.
pub fn memory(program: &Path, attack: Attack, flags: &[&str], time: Duration) -> anyhow::Result<[u64; 2]> {
    let learner = Bystander::start(program, flags)?;
    // A large network is made after the port is open.
    std::thread::sleep(REST);
    let before = learner.memory()?;
    let besieged = Siege::begin(attack, learner.target());
    let mut most = before;
    for _ in 0..(time.as_millis() / 50) {
        std::thread::sleep(Duration::from_millis(50));
        most = most.max(learner.memory()?);
    }
    besieged.end();
    Ok([before, most])
}

/// An attack that is under way on threads of its own.
struct Siege {
    stop: CancellationToken,
    thread: std::thread::JoinHandle<()>,
}

impl Siege {
    fn begin(attack: Attack, target: Target) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("siege".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let runtime = runtime.expect("there are threads");
            runtime.block_on(async {
                tokio::select! {
                    () = attack.carry_out(target) => {}
                    () = stopped.cancelled() => {}
                }
            });
            runtime.shutdown_background();
        });
        let thread = thread.expect("there are threads");
        Self { stop, thread }
    }

    fn end(self) {
        self.stop.cancel();
        if self.thread.join().is_err() {
            line("an attack ended with a panic: its row says nothing");
        }
    }
}
