//! What limits a run and what to change, in words. A pure function of the shares of time and of how the policy fares: nothing
//! here is measured, and nothing changes a run.

mod policy;

use super::shares::Shares;
use crate::handover::progress::Vitals;
use crate::handover::tally::Laggards;
use serde::{Serialize, Serializer};

/// Share of its time from which the trainer counts as busy: what is left is the granularity of batches.
const BUSY: f64 = 0.85;
/// Share of their time from which actors count as blocked. A little waiting is normal: each receipt takes its way.
const BLOCKED: f64 = 0.25;
/// Share of trajectories from which refusals matter more than anything else: their work is lost.
const STALE: f64 = 0.05;
/// Share of the processors from which the machine counts as full: processes that wake each other leave some of it idle
/// even when more of them add nothing (0.84 to 0.92 with two to four actors on two cores).
const FULL: f64 = 0.8;

/// What limits a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Limit {
    /// Too early to tell.
    #[default]
    Unknown,
    /// A batch needs more actors than are connected.
    MissingActors,
    /// The policy does always the same, and returns are at their lowest.
    DeadPolicy,
    /// Nearly all trajectories of an actor are refused as too old.
    ActorInVain,
    /// Trajectories are refused as too old.
    PolicyLag,
    /// What is trained is too far from the policy that learns.
    OldPolicies,
    /// The learner waits for actors that work all the time.
    Actors,
    /// The same, or both wait, and this machine's cores are busy.
    Cores,
    /// The learner works all the time and actors wait for it.
    Learner,
    /// Both wait for messages of the other.
    RoundTrip,
    /// Both wait for each other, as a deterministic run must.
    Lockstep,
    /// Nothing alone: both work nearly all the time.
    Nothing,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 12] = [
        Self::Unknown,
        Self::MissingActors,
        Self::DeadPolicy,
        Self::ActorInVain,
        Self::PolicyLag,
        Self::OldPolicies,
        Self::Actors,
        Self::Cores,
        Self::Learner,
        Self::RoundTrip,
        Self::Lockstep,
        Self::Nothing,
    ];

    /// The name in `metrics.csv`, `summary.json` and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::MissingActors => "missing_actors",
            Self::DeadPolicy => "dead_policy",
            Self::ActorInVain => "actor_in_vain",
            Self::PolicyLag => "policy_lag",
            Self::OldPolicies => "old_policies",
            Self::Actors => "actors",
            Self::Cores => "cores",
            Self::Learner => "learner",
            Self::RoundTrip => "round_trip",
            Self::Lockstep => "lockstep",
            Self::Nothing => "nothing",
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What there is besides shares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Circumstances {
    /// Actors that are connected.
    pub actors: usize,
    /// Actors that a batch needs.
    pub actors_needed: usize,
    /// Whether the run is deterministic.
    pub is_lockstep: bool,
    /// The entropy of a policy without any preference among its choices, nats; nothing where actions are numbers.
    pub entropy_max: Option<f64>,
    /// How the policy fares.
    pub vitals: Vitals,
    /// The actors whose policies are oldest.
    pub laggards: Laggards,
    /// Share of the trajectories under way that lie at the learner, 0 to 1; nothing while there is no telling.
    pub held: Option<f64>,
    /// How a batch grows with the actors; nothing where its size is fixed.
    pub growth: Option<BatchGrowth>,
}

/// How a batch grows with the actors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchGrowth {
    /// Columns for each of many actors.
    pub columns_per_actor: f64,
    /// Columns with few.
    pub columns_min: f64,
}

impl Circumstances {
    /// Actors that keep the learner as busy as those that are here do, where it has all that it can take.
    ///
    /// It takes X trajectories a second; one spends a time C on the way and in the making, and need not lie here for longer than
    /// its batch of K gathers, K / X. So `X C + K` must be under way. Of the `A W` that are, the share that does not lie here is
    /// `X C` (Little's law), and K are those of the actors that a batch needs.
    fn actors_that_keep_busy(&self) -> Option<usize> {
        let away = self.actors as f64 * (1.0 - self.held?);
        Some(away.ceil() as usize + self.actors_needed.max(1))
    }

    /// Actors with which a batch is as large as the gradient noise scale, where it follows them. Frames to a goal grow with
    /// `1 + batch / scale` (McCandlish et al. 2018, "An Empirical Model of Large-Batch Training"), so with A actors, at so many frames a second each, a run
    /// takes a time in proportion to `1 / A + 1 / N`: twice as many as N shorten it by a quarter, and none by more than a half.
    fn actors_that_pay(&self) -> Option<usize> {
        let (scale, growth) = (self.vitals.noise_scale()?, self.growth?);
        Some((scale.max(growth.columns_min) / growth.columns_per_actor).ceil() as usize)
    }

    /// What makes batches larger; nothing where they have less noise than they need already.
    fn larger_batches(&self) -> Option<&'static str> {
        let is_enough = self.vitals.noise_scale().is_some_and(|scale| self.vitals.batch_columns >= scale);
        let way =
            if self.growth.is_some() { "lower --policy-lag-target (larger batches)" } else { "larger --batch-size" };
        (!is_enough).then_some(way)
    }

    /// What to raise for fewer and larger messages and updates.
    fn larger_messages(&self) -> &'static str {
        match (self.larger_batches(), self.growth) {
            (None, _) => "--unroll-length",
            (Some(_), Some(_)) => "--environments-per-actor or --unroll-length",
            (Some(_), None) => "--batch-size with --environments-per-actor or --unroll-length",
        }
    }

    /// More actors than so many do not shorten the run, or by little.
    fn actors_enough(&self, is_learner_busy: bool) -> Option<usize> {
        let keep_busy = if is_learner_busy { self.actors_that_keep_busy() } else { None };
        keep_busy.into_iter().chain(self.actors_that_pay()).min()
    }

    /// The same, if there are more than so many.
    fn fewer_actors(&self, is_learner_busy: bool) -> Option<usize> {
        self.actors_enough(is_learner_busy).filter(|enough| *enough < self.actors)
    }
}

/// What limits a run, with what to change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// What limits the run, by its name.
    pub limit: Limit,
    /// For the progress line; empty as long as nothing can be told.
    #[serde(skip)]
    pub brief: String,
    /// For the summary: `<what limits> (<the shares>): <what to change>`.
    pub sentence: String,
    /// More actors than so many no longer shorten the run, or by little; null while there is no telling.
    pub actors_enough: Option<usize>,
}

/// Finds what limits a run.
pub fn diagnose(shares: &Shares, circumstances: &Circumstances) -> Diagnosis {
    let found = find(shares, circumstances);
    Diagnosis { actors_enough: circumstances.actors_enough(found.limit == Limit::Learner), ..found }
}

fn find(shares: &Shares, circumstances: &Circumstances) -> Diagnosis {
    let missing = circumstances.actors_needed.saturating_sub(circumstances.actors);
    if missing > 0 {
        let actors = if missing == 1 { "1 more actor".into() } else { format!("{missing} more actors") };
        let sentence = format!("missing actors: a batch needs {actors} to be connected");
        return told(Limit::MissingActors, format!("a batch needs {actors}"), sentence);
    }
    if !shares.tell_enough() {
        return told(Limit::Unknown, String::new(), "unknown: too early to tell".into());
    }
    if let Some(diagnosis) = policy::diagnose(circumstances) {
        return diagnosis;
    }
    if shares.stale >= STALE {
        let stale = percent(shares.stale);
        let advice = "lower --in-flight-max or --actors, or raise --policy-lag-max";
        return told(
            Limit::PolicyLag,
            format!("{stale} refused as too old: lower --in-flight-max"),
            format!("policy lag ({stale} of the trajectories refused as too old): {advice}"),
        );
    }
    let is_busy = shares.learner_busy >= BUSY;
    // Actors that do not tell count as what the learner's side suggests.
    let is_blocked = shares.actors_blocked().map_or(is_busy, |blocked| blocked >= BLOCKED);
    match (is_busy, is_blocked) {
        (true, true) => learner(shares, circumstances),
        (true, false) => told(
            Limit::Nothing,
            "learner and actors both busy".into(),
            format!("nothing alone ({}): learner and actors suit each other", both(shares)),
        ),
        (false, true) => round_trip(shares, circumstances),
        (false, false) => actors(shares, circumstances),
    }
}

fn learner(shares: &Shares, circumstances: &Circumstances) -> Diagnosis {
    let shares_told = busy_and_blocked(shares);
    let larger = circumstances.larger_batches();
    // Threads need cores that are free.
    let threads = (!is_full(shares)).then_some("more --learner-threads");
    let ways: Vec<_> = larger.into_iter().chain(threads).collect();
    let advice = if ways.is_empty() { String::new() } else { format!("{} or ", ways.join(", ")) } + "a smaller network";
    let enough = circumstances.fewer_actors(true);
    let no_more = match enough {
        Some(1) => "; more than one actor does not shorten this run".into(),
        Some(enough) => format!("; more than about {enough} actors no longer shorten this run"),
        None => "; more actors would not shorten this run".into(),
    };
    let fewer = enough.map(are_enough);
    let in_brief: Vec<_> = larger.map(|_| "larger batch".to_owned()).into_iter().chain(fewer).collect();
    let in_brief = if in_brief.is_empty() { "smaller network".into() } else { in_brief.join(", ") };
    let sentence = format!("the learner ({shares_told}): {advice}{no_more}");
    let blocked = shares.actors_blocked().map_or("learner busy".into(), |b| format!("actors blocked {}", percent(b)));
    told(Limit::Learner, format!("{blocked}: {in_brief}"), sentence)
}

fn are_enough(actors: usize) -> String {
    if actors == 1 { "1 actor is enough".into() } else { format!("{actors} actors are enough") }
}

fn actors(shares: &Shares, circumstances: &Circumstances) -> Diagnosis {
    let waits = percent(1.0 - shares.learner_busy);
    let enough = circumstances.fewer_actors(false);
    let columns = circumstances.vitals.batch_columns;
    let little = |enough| {
        format!(
            "more than about {enough} actors shorten this run by little: batches of {columns:.0} columns leave little noise"
        )
    };
    if is_full(shares) {
        let cores = format!("the cores ({}, learner waits {waits} of the time)", machine(shares));
        return told(
            Limit::Cores,
            format!("learner waits {waits}, all cores busy"),
            match enough {
                Some(enough) => format!("{cores}: {}", little(enough)),
                None => format!("{cores}: this machine is full; run actors on others too, or on more cores"),
            },
        );
    }
    let actors = format!("the actors (learner waits {waits} of the time)");
    match enough {
        Some(enough) => told(
            Limit::Actors,
            format!("learner waits {waits}, {}", are_enough(enough)),
            format!("{actors}; but {}", little(enough)),
        ),
        None => told(
            Limit::Actors,
            format!("learner waits {waits}: add actors"),
            format!("{actors}: add actors (--actors) or raise --environments-per-actor"),
        ),
    }
}

fn round_trip(shares: &Shares, circumstances: &Circumstances) -> Diagnosis {
    if circumstances.is_lockstep {
        let sentence = format!("the lockstep of a deterministic run ({}): larger --batch-size", both(shares));
        return told(Limit::Lockstep, "lockstep: both sides wait".into(), sentence);
    }
    if is_full(shares) {
        return told(
            Limit::Cores,
            "all cores busy with short updates".into(),
            format!(
                "the cores ({}, {}): messages and updates are small; raise {}",
                machine(shares),
                both(shares),
                circumstances.larger_messages()
            ),
        );
    }
    told(
        Limit::RoundTrip,
        "both sides wait: raise --in-flight-max".into(),
        format!(
            "the round trip ({}): updates are short, both sides wait; raise --in-flight-max (more policy lag), or {}",
            both(shares),
            circumstances.larger_messages()
        ),
    )
}

fn told(limit: Limit, brief: String, sentence: String) -> Diagnosis {
    Diagnosis { limit, brief, sentence, actors_enough: None }
}

fn is_full(shares: &Shares) -> bool {
    shares.machine_busy.is_some_and(|busy| busy >= FULL)
}

fn machine(shares: &Shares) -> String {
    format!("{} busy", percent(shares.machine_busy.unwrap_or_default()))
}

fn both(shares: &Shares) -> String {
    format!("learner {}", busy_and_blocked(shares))
}

fn busy_and_blocked(shares: &Shares) -> String {
    let blocked = shares.actors_blocked().map_or(String::new(), |b| format!(", actors blocked {}", percent(b)));
    format!("busy {}{blocked}", percent(shares.learner_busy))
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests;
