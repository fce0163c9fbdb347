//! How `train` splits this machine between the learner and its actors, where nobody gave `--actors`: a short measurement of
//! both, then the fewest actors that keep the learner fed. More would only make batches larger, and with them the frames that it takes
//! to learn more.

use impala_actor::calibration::unroll_time;
use impala_actor::rollout::RollPlan;
use impala_learner::config::{Config, OpenSplit};
use impala_learner::fit::calibration::{Workload, update_time};
use impala_learner::learn::compute::ComputeDevice;
use std::fmt;
use std::time::Duration;

/// Bound on each of the few measurements; an update or unroll that takes longer is run twice.
const MEASURING_MAX: Duration = Duration::from_millis(5);
/// Multiply-adds of an update beyond which it is estimated instead: it would take a tenth of a second and more.
const MEASURED_WORK_MAX: f64 = 2e9;
/// Multiply-adds a second of one core in such an estimate. Only the ratio of learner and actors matters.
const WORK_PER_SECOND: f64 = 1e10;
/// Time of a trajectory's way from one unroll to the next besides both: packing, socket, receipt, weights. This and the next
/// were measured over loopback on two cores with the default settings, where an update took 0.11 ms and an unroll 0.04 ms (one
/// actor made a trajectory every 0.22 ms, three kept both cores busy with one every 0.18 ms); for all small messages they are
/// much the same.
const ROUND_TRIP: Duration = Duration::from_micros(180);
/// Processor time of both sides for one trajectory's messages and the weights that go back.
const MESSAGE_WORK: Duration = Duration::from_micros(190);
/// Of it, what a network thread of the learner needs for each: no number of cores makes that faster.
const MESSAGE_SERIAL: Duration = Duration::from_micros(80);
/// Processor time of both sides for each frame in a message, which only large ones feel: two actors with 128 environments took
/// 1.83 microseconds a frame in all, of which update and unroll took 1.62 and the message 0.07.
const FRAME_WORK: Duration = Duration::from_nanos(140);
/// Most trajectories under way, in batches of few actors, that a choice may bring with it: 16 actors at the defaults. Batches grow
/// with the actors, and frames to a goal with the batches: where actors are slow (20 ms an unroll), CartPole takes 10.8 s with two
/// actors, 4.5 with eight, 3.2 with 16, and 32 shorten it by 17 % only.
const UNDER_WAY_MAX: usize = 16;
/// Threads that gain less than this factor over fewer are left to the actors.
const THREADS_GAIN_MIN: f64 = 1.1;
/// Actors a core that `train` starts of its own accord.
const ACTORS_PER_CORE_MAX: usize = 4;
/// Actors that `train` starts of its own accord, be they needed to fill a batch of a given size.
const ACTORS_MAX: usize = 64;

/// What updates and unrolls take here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Costs {
    /// Threads, from few to many, and the time of an update with them.
    pub(crate) updates: Vec<(usize, Duration)>,
    /// The time of an unroll.
    pub(crate) unroll: Duration,
}

/// What a run asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Trajectories in an update, with few actors.
    pub(crate) trajectories_per_batch: usize,
    /// Trajectories without which there is no update: one where batches follow the actors.
    pub(crate) trajectories_needed: usize,
    /// Frames in a trajectory.
    pub(crate) frames: usize,
    /// Trajectories that an actor may have on their way.
    pub(crate) in_flight_max: usize,
    /// Threads that read them.
    pub(crate) network_threads: usize,
}

/// How a machine is split between learner and actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) actors: usize,
    pub(crate) learner_threads: usize,
    update: Duration,
    unroll: Duration,
    cores: usize,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { actors, learner_threads, update, unroll, cores } = self;
        let (update, unroll) = (update.as_secs_f64() * 1e3, unroll.as_secs_f64() * 1e3);
        write!(
            f,
            "{}, {}: an update takes {update:.2} ms, an unroll {unroll:.2} ms, {}",
            counted(*actors, "actor"),
            counted(*learner_threads, "learner thread"),
            counted(*cores, "core")
        )
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Splits `cores` cores.
pub(crate) fn split(cores: usize, costs: &Costs, demand: Demand) -> Split {
    let Demand { trajectories_per_batch, trajectories_needed, frames, in_flight_max, network_threads } = demand;
    let batch = trajectories_per_batch as f64;
    let (unroll, serial) = (costs.unroll.as_secs_f64(), MESSAGE_SERIAL.as_secs_f64() / network_threads as f64);
    let numbers = FRAME_WORK.as_secs_f64() * frames as f64;
    let (way, work) = (ROUND_TRIP.as_secs_f64() + numbers, MESSAGE_WORK.as_secs_f64() + numbers);
    // Seconds from one update to the next: as long as it takes, as its messages take, and as the cores need for both sides.
    let interval = |(threads, update): &(usize, Duration)| {
        let update = update.as_secs_f64();
        let cores_need = (update * *threads as f64 + (unroll + work) * batch) / cores as f64;
        update.max(serial * batch).max(cores_need)
    };
    let mut chosen = costs.updates[0];
    for candidate in &costs.updates[1..] {
        if interval(&chosen) > THREADS_GAIN_MIN * interval(candidate) {
            chosen = *candidate;
        }
    }
    let (learner_threads, update) = chosen;
    // From one update to the next a batch of trajectories must be made and sent.
    let windows = batch * (unroll + way) / interval(&chosen) / in_flight_max as f64;
    let sane = (UNDER_WAY_MAX * trajectories_per_batch).div_ceil(in_flight_max);
    let wanted = windows.round().max(1.0) as usize;
    let needed = trajectories_needed.div_ceil(in_flight_max);
    let actors = wanted.min(sane).min(ACTORS_PER_CORE_MAX * cores).max(needed.min(ACTORS_MAX));
    Split { actors, learner_threads, update, unroll: costs.unroll, cores }
}

/// Measures updates on `device` and unrolls, for the threads that `open` leaves to choose.
pub(crate) fn measure(config: &Config, device: &ComputeDevice, open: OpenSplit, cores: usize) -> anyhow::Result<Costs> {
    let parameters = config.network().parameter_count() as f64;
    let frames = config.rollout.frames_per_trajectory() as f64;
    let seconds = |work: f64| Duration::from_secs_f64(work / WORK_PER_SECOND);
    // Forward, and backward twice as much.
    let work = 3.0 * parameters * (config.rollout.unroll_length * config.few_columns()) as f64;
    let is_estimated = work > MEASURED_WORK_MAX;
    let candidates = match (open.learner_threads && device.is_cpu(), config.compute.learner_threads) {
        (true, _) => thread_counts(cores),
        (false, 0) => vec![if device.is_cpu() { cores } else { 1 }],
        (false, given) => vec![given],
    };
    let workload = Workload::of(config);
    let mut updates: Vec<(usize, Duration)> = Vec::new();
    for threads in candidates {
        let update = match is_estimated && device.is_cpu() {
            true => seconds(work / threads.min(cores) as f64),
            false => {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
                pool.install(|| update_time(&workload, device, MEASURING_MAX))
            }
        };
        let gains =
            updates.last().is_none_or(|(_, before)| before.as_secs_f64() > THREADS_GAIN_MIN * update.as_secs_f64());
        if !gains {
            break;
        }
        updates.push((threads, update));
    }
    let plan = RollPlan::of(&config.agreement(), config.environment().clone());
    let unroll = match is_estimated {
        true => seconds(parameters * frames),
        false => unroll_time(plan, MEASURING_MAX),
    };
    Ok(Costs { updates, unroll })
}

/// 1, 2, 4 .. and at last all cores.
fn thread_counts(cores: usize) -> Vec<usize> {
    let doubled = std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n < cores);
    doubled.chain([cores]).collect()
}

#[cfg(test)]
mod tests;
