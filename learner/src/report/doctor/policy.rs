//! What is wrong with the policies, whatever limits the speed: one that is dead, actors that work in vain, policies that are too
//! old to learn from. They are told before the time's shares: more frames a second of such data help nobody.
//!
//! The thresholds separate measured runs that learned from runs that lost their policy, each with the time course of both: see the
//! table in `docs/failures.md`. The lowest effective sample size of the former was 88 % (8 actors, 7 updates behind), that of the
//! latter 32 to 75 %, and it fell below 85 % tens of thousands of frames before returns did.
//!
//! A lag alone says little: 28 updates behind everything was learned at a rate of 0.0003 and on `catch`; one update behind all was lost
//! at a rate of 0.02. The share of clipped ratios says less: it is some 45 % with 8 actors as with 64, since half of the ratios are
//! above 1 however near the policies are.

use super::{Circumstances, Diagnosis, Limit, percent, told};
use crate::handover::progress::ReturnRange;
use impala_common::status::ActorLag;

/// Effective sample size, as a share of the frames, below which policies are too old.
const EFFECTIVE_SAMPLES_MIN: f64 = 0.85;
/// Share of its largest value, `ln A`, below which a policy's entropy is next to none. A solved CartPole keeps 60 %, the dead
/// policies of the runs above have 0 to 1 % and come to life again from above 2 %.
const ENTROPY_MIN: f64 = 0.02;
/// Mean returns count as at the floor in this lowest part of the range that they have moved in.
const FLOOR: f64 = 0.1;
/// That range tells something where it is this part of the larger of its ends: the policy has been better, and not by chance.
const RANGE_MIN: f64 = 0.25;
/// Updates from which the means of the recent past tell something.
const UPDATES_MIN: u64 = 20;

/// Finds what is wrong with the policies.
pub(super) fn diagnose(circumstances: &Circumstances) -> Option<Diagnosis> {
    // Few updates tell nothing of the policy.
    let seasoned = (circumstances.vitals.updates >= UPDATES_MIN).then_some(circumstances);
    seasoned.and_then(dead).or_else(|| in_vain(circumstances)).or_else(|| seasoned.and_then(too_old))
}

/// A policy that does always the same, and the wrong thing: it makes no experience from which it could learn better.
fn dead(circumstances: &Circumstances) -> Option<Diagnosis> {
    let (vitals, entropy_max) = (&circumstances.vitals, circumstances.entropy_max?);
    let is_without_entropy = vitals.entropy < ENTROPY_MIN * entropy_max;
    if !is_without_entropy || !vitals.returns.as_ref().is_some_and(are_at_the_floor) {
        return None;
    }
    let advice = "start again with a lower --learning-rate, a higher --entropy-cost, or --resume the best checkpoint";
    let sentence = format!(
        "the policy is dead: entropy {:.3} of {entropy_max:.3}, returns at the floor: {advice}",
        vitals.entropy
    );
    Some(told(Limit::DeadPolicy, "the policy is dead: start again, lower rate".into(), sentence))
}

fn are_at_the_floor(returns: &ReturnRange) -> bool {
    let ReturnRange { newest, best, worst } = *returns;
    let range = best - worst;
    range > 0.0 && range >= RANGE_MIN * best.abs().max(worst.abs()) && newest - worst <= FLOOR * range
}

/// Actors of which nearly everything is refused.
fn in_vain(circumstances: &Circumstances) -> Option<Diagnosis> {
    let laggards = &circumstances.laggards;
    let ActorLag { name, refused, policy_lag_mean, trajectory_seconds } = laggards.in_vain.as_ref()?;
    let others = match laggards.in_vain_count {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    // Names are the actors' own, and may be long.
    let name: String = name.chars().take(NAME_MAX).collect();
    let time = match *trajectory_seconds > 0.0 {
        true => format!(", {trajectory_seconds:.3} s a trajectory"),
        false => String::new(),
    };
    let advice =
        "take it off or to a faster machine, shorten --unroll-length, enlarge --batch-size or raise --policy-lag-max";
    let sentence = format!(
        "actor {name}{others}, in vain ({} refused as too old, {policy_lag_mean:.0} updates behind{time}): {advice}",
        percent(*refused)
    );
    let brief_name: String = name.chars().take(BRIEF_NAME_MAX).collect();
    Some(told(Limit::ActorInVain, format!("actor {brief_name}{others}: {} too old", percent(*refused)), sentence))
}

/// Characters of an actor's name in a sentence.
const NAME_MAX: usize = 64;
/// And in the line of the display.
const BRIEF_NAME_MAX: usize = 24;

/// Policies that differ too much from the one that is trained.
fn too_old(circumstances: &Circumstances) -> Option<Diagnosis> {
    let vitals = &circumstances.vitals;
    if vitals.effective_samples >= EFFECTIVE_SAMPLES_MIN {
        return None;
    }
    let (effective, lag) = (percent(vitals.effective_samples), vitals.policy_lag);
    let larger = circumstances.larger_batches().map_or(String::new(), |way| format!("{way}, "));
    let fewer = if circumstances.actors > circumstances.actors_needed { " or fewer --actors" } else { "" };
    let sentence = format!(
        "policies that are too old ({lag:.0} updates behind, effective sample size {effective} of the frames): {larger}\
         lower --learning-rate{fewer}"
    );
    Some(told(Limit::OldPolicies, format!("policies are too old: {lag:.0} updates behind"), sentence))
}
