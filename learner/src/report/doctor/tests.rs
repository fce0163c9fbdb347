use super::*;
use crate::handover::progress::{NoiseMeans, ReturnRange};
use impala_common::status::ActorLag;

fn shares(learner_busy: f64, actors_blocked: f64, machine_busy: f64) -> Shares {
    Shares {
        seconds: 10.0,
        updates: 1000,
        learner_busy,
        actors_waiting_for_room: Some(actors_blocked),
        actors_waiting_for_weights: Some(0.0),
        stale: 0.0,
        machine_busy: Some(machine_busy),
    }
}

fn circumstances(actors: usize, actors_needed: usize) -> Circumstances {
    Circumstances { actors, actors_needed, entropy_max: Some(2.0_f64.ln()), ..Circumstances::default() }
}

fn of(shares: &Shares) -> Diagnosis {
    diagnose(shares, &circumstances(2, 1))
}

#[test]
fn a_learner_that_waits_for_working_actors_wants_more_of_them() {
    let found = of(&shares(0.38, 0.05, 0.5));
    assert_eq!(found.limit, Limit::Actors);
    assert_eq!(found.brief, "learner waits 62 %: add actors");
    assert_eq!(
        found.sentence,
        "the actors (learner waits 62 % of the time): add actors (--actors) or raise --environments-per-actor"
    );
}

#[test]
fn on_a_full_machine_more_actors_would_not_help() {
    let found = of(&shares(0.38, 0.05, 0.97));
    assert_eq!(found.limit, Limit::Cores);
    assert_eq!(
        found.sentence,
        "the cores (97 % busy, learner waits 62 % of the time): this machine is full; run actors on others too, or on more cores"
    );
    let found = of(&shares(0.6, 0.5, 0.97));
    assert_eq!(found.limit, Limit::Cores);
    assert!(found.sentence.starts_with("the cores (97 % busy, learner busy 60 %, actors blocked 50 %): "), "{found:?}");
}

#[test]
fn actors_that_wait_for_a_busy_learner_are_too_many() {
    let with = |actors, needed, held| {
        diagnose(&shares(0.97, 0.4, 0.6), &Circumstances { held, ..circumstances(actors, needed) })
    };
    let found = with(64, 1, Some(0.95));
    assert_eq!(found.limit, Limit::Learner);
    assert_eq!(found.brief, "actors blocked 40 %: larger batch, 5 actors are enough");
    assert_eq!(
        found.sentence,
        "the learner (busy 97 %, actors blocked 40 %): larger --batch-size, more --learner-threads or a smaller network; \
         more than about 5 actors no longer shorten this run"
    );
    let found = with(64, 0, Some(1.0));
    assert!(found.sentence.ends_with("; more than one actor does not shorten this run"), "{found:?}");
    assert_eq!(found.brief, "actors blocked 40 %: larger batch, 1 actor is enough");
    // Those of a batch lie here while it gathers.
    assert!(with(64, 16, Some(0.95)).sentence.ends_with("more than about 20 actors no longer shorten this run"));
    for (actors, held) in [(1, Some(0.9)), (2, Some(0.4)), (64, None)] {
        let found = with(actors, 1, held);
        assert!(found.sentence.ends_with("; more actors would not shorten this run"), "{found:?}");
        assert!(found.brief.ends_with(": larger batch"), "{found:?}");
    }
    assert!(!of(&shares(0.97, 0.4, 1.0)).sentence.contains("threads"), "no core is free for them");
}

/// 64 actors with a batch of 128 columns and a gradient noise scale of 50.
fn many() -> Circumstances {
    let noise = NoiseMeans { updates: 200, newest_update: 200, signal: 0.002, noise: 0.1 };
    let vitals = Vitals { updates: 200, batch_columns: 128.0, effective_samples: 1.0, noise, ..Vitals::default() };
    let growth = Some(BatchGrowth { columns_per_actor: 2.0, columns_min: 8.0 });
    Circumstances { vitals, growth, ..circumstances(64, 1) }
}

#[test]
fn actors_whose_batches_have_less_noise_than_needed_pay_little() {
    let found = diagnose(&shares(0.38, 0.05, 0.5), &many());
    assert_eq!((found.limit, found.actors_enough), (Limit::Actors, Some(25)));
    assert_eq!(found.brief, "learner waits 62 %, 25 actors are enough");
    assert_eq!(
        found.sentence,
        "the actors (learner waits 62 % of the time); but more than about 25 actors shorten this run by little: batches of \
         128 columns leave little noise"
    );
    let found = diagnose(&shares(0.38, 0.05, 0.97), &many());
    assert_eq!((found.limit, found.actors_enough), (Limit::Cores, Some(25)));
    assert!(found.sentence.contains("of the time): more than about 25 actors shorten this run by little"), "{found:?}");
    // The smaller number counts where the learner is busy.
    for (held, enough) in [(0.5, 25), (0.95, 5)] {
        let found = diagnose(&shares(0.97, 0.4, 0.6), &Circumstances { held: Some(held), ..many() });
        assert_eq!((found.limit, found.actors_enough), (Limit::Learner, Some(enough)));
        assert!(
            found.sentence.ends_with(&format!("more than about {enough} actors no longer shorten this run")),
            "{found:?}"
        );
    }
    // What lies at a learner that waits tells nothing of the actors.
    assert_eq!(
        diagnose(&shares(0.38, 0.05, 0.5), &Circumstances { held: Some(0.95), ..many() }).actors_enough,
        Some(25)
    );
}

#[test]
fn more_actors_are_wanted_as_long_as_their_batches_are_small_or_tell_nothing() {
    let with = |noise: NoiseMeans, growth| {
        let vitals = Vitals { noise, ..many().vitals };
        diagnose(&shares(0.38, 0.05, 0.5), &Circumstances { vitals, growth, ..many() })
    };
    let growth = many().growth;
    let known = many().vitals.noise;
    let found = with(NoiseMeans { noise: 0.8, ..known }, growth);
    assert_eq!((found.brief.as_str(), found.actors_enough), ("learner waits 62 %: add actors", Some(200)));
    // A scale below the batches of few actors: those do not grow with them.
    assert_eq!(with(NoiseMeans { noise: 0.001, ..known }, growth).actors_enough, Some(4));
    // Early, of long ago, without a signal, and where a batch does not grow with the actors.
    let untold = [
        (NoiseMeans { updates: 99, ..known }, growth),
        (NoiseMeans { newest_update: 100, ..known }, growth),
        (NoiseMeans { signal: -0.001, ..known }, growth),
        (known, None),
    ];
    for (noise, growth) in untold {
        let found = with(noise, growth);
        assert_eq!((found.brief.as_str(), found.actors_enough), ("learner waits 62 %: add actors", None));
    }
}

#[test]
fn two_sides_that_wait_feel_the_round_trip() {
    let found = of(&shares(0.6, 0.7, 0.5));
    assert_eq!(found.limit, Limit::RoundTrip);
    assert_eq!(
        found.sentence,
        "the round trip (learner busy 60 %, actors blocked 70 %): updates are short, both sides wait; raise \
         --in-flight-max (more policy lag), or --batch-size with --environments-per-actor or --unroll-length"
    );
    let found = diagnose(&shares(0.3, 0.7, 0.5), &Circumstances { is_lockstep: true, ..Circumstances::default() });
    assert_eq!(found.limit, Limit::Lockstep);
}

#[test]
fn two_sides_that_work_are_limited_by_nothing_alone() {
    let found = of(&shares(0.95, 0.1, 1.0));
    assert_eq!(found.limit, Limit::Nothing);
    assert_eq!(
        found.sentence,
        "nothing alone (learner busy 95 %, actors blocked 10 %): learner and actors suit each other"
    );
}

#[test]
fn refusals_come_before_anything_else() {
    let found = of(&Shares { stale: 0.12, ..shares(0.97, 0.4, 0.6) });
    assert_eq!(found.limit, Limit::PolicyLag);
    assert_eq!(
        found.sentence,
        "policy lag (12 % of the trajectories refused as too old): lower --in-flight-max or --actors, or raise \
         --policy-lag-max"
    );
}

#[test]
fn few_updates_tell_nothing_but_missing_actors_are_told_at_once() {
    let early = Shares { seconds: 0.1, updates: 3, ..shares(0.1, 0.1, 0.1) };
    let found = of(&early);
    assert_eq!((found.limit, found.brief.as_str()), (Limit::Unknown, ""));
    let found = diagnose(&early, &circumstances(2, 3));
    assert_eq!((found.limit, found.brief.as_str()), (Limit::MissingActors, "a batch needs 1 more actor"));
    // Two long updates tell.
    assert_eq!(of(&Shares { seconds: 4.0, updates: 2, ..shares(1.0, 0.6, 0.6) }).limit, Limit::Learner);
}

#[test]
fn actors_that_tell_no_times_leave_the_learners_side_to_judge_by() {
    let silent = |busy| Shares { actors_waiting_for_room: None, ..shares(busy, 0.0, 0.5) };
    assert_eq!(of(&silent(0.4)).limit, Limit::Actors);
    let found = of(&silent(0.99));
    assert!(found.sentence.starts_with("the learner (busy 99 %): "), "{found:?}");
}

#[test]
fn every_brief_fits_a_line() {
    for busy in [0.1, 1.0] {
        for blocked in [0.1, 1.0] {
            for machine in [0.1, 1.0] {
                let found = of(&shares(busy, blocked, machine));
                assert!(!found.brief.is_empty() && found.brief.len() < 60, "{found:?}");
            }
        }
    }
}

fn vitals(effective_samples: f64, entropy: f64, returns: [f64; 3]) -> Vitals {
    let [newest, best, worst] = returns;
    let returns = Some(ReturnRange { newest, best, worst });
    Vitals { updates: 500, effective_samples, entropy, policy_lag: 52.3, returns, ..Vitals::default() }
}

/// A learner and actors that suit each other.
fn of_policy(vitals: Vitals) -> Diagnosis {
    diagnose(&shares(0.95, 0.1, 1.0), &Circumstances { vitals, ..circumstances(64, 1) })
}

#[test]
fn policies_that_are_too_old_are_told_before_returns_fall() {
    let found = of_policy(vitals(0.61, 0.4, [300.0, 300.0, 20.0]));
    assert_eq!((found.limit, found.limit.name()), (Limit::OldPolicies, "old_policies"));
    assert_eq!(found.brief, "policies are too old: 52 updates behind");
    assert_eq!(
        found.sentence,
        "policies that are too old (52 updates behind, effective sample size 61 % of the frames): larger --batch-size, \
         lower --learning-rate or fewer --actors"
    );
    // As with eight actors, which learn.
    assert_eq!(of_policy(vitals(0.88, 0.4, [300.0, 300.0, 20.0])).limit, Limit::Nothing);
    let early = Vitals { updates: 19, ..vitals(0.61, 0.4, [300.0, 300.0, 20.0]) };
    assert_eq!(of_policy(early).limit, Limit::Nothing);
}

#[test]
fn a_dead_policy_is_named_and_a_sure_one_that_is_good_is_not() {
    let found = of_policy(vitals(1.0, 0.001, [9.4, 310.0, 9.2]));
    assert_eq!(found.limit, Limit::DeadPolicy);
    assert_eq!(
        found.sentence,
        "the policy is dead: entropy 0.001 of 0.693, returns at the floor: start again with a lower --learning-rate, a \
         higher --entropy-cost, or --resume the best checkpoint"
    );
    // Never better than chance.
    assert_eq!(of_policy(vitals(1.0, 0.001, [9.4, 22.0, 9.3])).limit, Limit::DeadPolicy);
    // Sure of itself and right; nearly always the same returns; on its way up again; and merely bad.
    for (entropy, returns) in [
        (0.001, [500.0, 500.0, 9.0]),
        (0.001, [498.0, 500.0, 498.0]),
        (0.001, [80.0, 310.0, 9.2]),
        (0.3, [9.4, 310.0, 9.2]),
    ] {
        assert_eq!(of_policy(vitals(1.0, entropy, returns)).limit, Limit::Nothing, "{entropy}, {returns:?}");
    }
    // Returns below zero have a floor too.
    assert_eq!(of_policy(vitals(1.0, 0.0, [-1580.0, -180.0, -1600.0])).limit, Limit::DeadPolicy);
    let untold = Vitals { returns: None, ..vitals(1.0, 0.0, [0.0; 3]) };
    assert_eq!(of_policy(untold).limit, Limit::Nothing);
}

#[test]
fn an_actor_that_works_in_vain_is_named_with_what_to_do() {
    let slow = ActorLag { name: "pod-7".into(), policy_lag_mean: 140.2, refused: 0.95, trajectory_seconds: 2.5 };
    let told = |in_vain: ActorLag, in_vain_count| {
        let laggards = Laggards { in_vain: Some(in_vain), in_vain_count, ..Laggards::default() };
        diagnose(&Shares { stale: 0.2, ..shares(0.97, 0.4, 0.6) }, &Circumstances { laggards, ..circumstances(4, 1) })
    };
    let found = told(slow.clone(), 1);
    assert_eq!((found.limit, found.brief.as_str()), (Limit::ActorInVain, "actor pod-7: 95 % too old"));
    assert_eq!(
        found.sentence,
        "actor pod-7, in vain (95 % refused as too old, 140 updates behind, 2.500 s a trajectory): take it off or to a \
         faster machine, shorten --unroll-length, enlarge --batch-size or raise --policy-lag-max"
    );
    let many = told(ActorLag { name: "x".repeat(256), trajectory_seconds: 0.0, ..slow }, 1000);
    assert!(many.brief.len() < 60 && many.brief.contains(" and 999 more"), "{many:?}");
    assert!(!many.sentence.contains("s a trajectory") && many.sentence.len() < 300, "{many:?}");
}
