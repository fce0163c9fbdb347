use super::*;

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

fn of(shares: &Shares) -> Diagnosis {
    diagnose(shares, &Circumstances { actors: 2, actors_needed: 1, is_lockstep: false })
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
    let found = of(&shares(0.97, 0.4, 0.6));
    assert_eq!(found.limit, Limit::Learner);
    assert_eq!(found.brief, "actors blocked 40 %: larger batch or fewer actors");
    assert_eq!(
        found.sentence,
        "the learner (busy 97 %, actors blocked 40 %): larger --batch-size, more --learner-threads or a smaller network; \
         fewer actors would do"
    );
    let alone = diagnose(&shares(0.97, 0.4, 0.6), &Circumstances { actors: 1, actors_needed: 1, is_lockstep: false });
    assert!(!alone.sentence.contains("fewer") && alone.brief.ends_with(": larger batch"), "{alone:?}");
    assert!(!of(&shares(0.97, 0.4, 1.0)).sentence.contains("threads"), "no core is free for them");
}

#[test]
fn two_sides_that_wait_feel_the_round_trip() {
    let found = of(&shares(0.6, 0.7, 0.5));
    assert_eq!(found.limit, Limit::RoundTrip);
    assert_eq!(
        found.sentence,
        "the round trip (learner busy 60 %, actors blocked 70 %): updates are short, both sides wait; raise \
         --in-flight-max (more policy lag) or --batch-size"
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
    let found = diagnose(&early, &Circumstances { actors: 2, actors_needed: 3, is_lockstep: false });
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
