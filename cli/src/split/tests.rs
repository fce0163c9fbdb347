use super::*;

fn config(toml: &str) -> Config {
    Config::complete(toml.parse().unwrap(), &impala_env::builtin()).unwrap()
}

const ONE: Demand =
    Demand { trajectories_per_batch: 1, trajectories_needed: 1, frames: 80, in_flight_max: 1, network_threads: 1 };

fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

/// Updates by 1, 2, 4 .. threads and the unroll, microseconds.
fn costs(updates: &[u64], unroll: u64) -> Costs {
    let threads = std::iter::successors(Some(1), |n| Some(n * 2));
    Costs { updates: threads.zip(updates.iter().map(|update| micros(*update))).collect(), unroll: micros(unroll) }
}

fn chosen(cores: usize, costs: &Costs, demand: Demand) -> (usize, usize) {
    let split = split(cores, costs, demand);
    (split.actors, split.learner_threads)
}

#[test]
fn the_defaults_on_two_cores_get_one_actor_and_on_more_two() {
    let costs = costs(&[110], 40);
    assert_eq!(
        split(2, &costs, ONE).to_string(),
        "1 actor, 1 learner thread: an update takes 0.11 ms, an unroll 0.04 ms, 2 cores"
    );
    assert_eq!(chosen(16, &costs, ONE), (2, 1), "two actors keep the learner busy");
}

#[test]
fn small_updates_wait_for_messages_which_more_network_threads_take() {
    let small = costs(&[20], 40);
    assert_eq!(chosen(16, &small, ONE), (3, 1), "one thread takes no more messages than three actors make");
    assert_eq!(chosen(16, &small, Demand { network_threads: 2, ..ONE }), (6, 1));
}

#[test]
fn a_learner_that_takes_its_time_needs_one_actor() {
    assert_eq!(chosen(16, &costs(&[5_000], 16), ONE), (1, 1));
}

#[test]
fn actors_that_take_their_time_get_the_cores_as_far_as_they_pay() {
    let slow = costs(&[1_000], 50_000);
    assert_eq!(chosen(16, &slow, ONE), (16, 1), "no more than pay");
    let many = Demand { trajectories_per_batch: 8, trajectories_needed: 8, ..ONE };
    assert_eq!(chosen(16, &slow, many), (16, 1));
    assert_eq!(chosen(4, &slow, many), (8, 1), "a batch needs eight");
    assert_eq!(chosen(1, &slow, many).0, 8, "also beyond what a core is to carry");
    let following = Demand { trajectories_needed: 1, ..many };
    assert!(chosen(1, &slow, following).0 <= ACTORS_PER_CORE_MAX, "a batch that follows needs none to be filled");
}

#[test]
fn threads_are_taken_where_they_pay_and_actors_keep_up() {
    // The acting for an update is little beside it.
    assert_eq!(chosen(8, &costs(&[80_000, 40_000, 20_000], 1_000), ONE).1, 4);
    // The acting takes as long as the update: the cores are shared half and half.
    assert_eq!(chosen(2, &costs(&[8_000, 4_000], 8_000), ONE).1, 1);
    assert_eq!(chosen(2, &costs(&[120, 118], 16), ONE).1, 1);
}

#[test]
fn a_batch_is_always_filled_within_what_a_machine_can_carry() {
    let demand = Demand { trajectories_per_batch: 6, trajectories_needed: 6, in_flight_max: 2, ..ONE };
    assert_eq!(chosen(2, &costs(&[1_000_000], 10), demand).0, 3);
    let absurd = Demand { trajectories_per_batch: 1000, trajectories_needed: 1000, ..ONE };
    assert_eq!(chosen(2, &costs(&[1_000], 10), absurd).0, ACTORS_MAX);
    let many = Demand { trajectories_per_batch: 16, trajectories_needed: 16, ..absurd };
    assert_eq!(chosen(2, &costs(&[1_000], 10), many).0, 16);
}

#[test]
fn both_sides_are_measured_and_only_what_is_open_is_chosen() {
    let device = ComputeDevice::cpu();
    let config = config("learner_threads = 3");
    let given = OpenSplit { actors: true, learner_threads: false };
    let costs = measure(&config, &device, given, 2).unwrap();
    assert!(costs.updates.len() == 1 && costs.updates[0].0 == 3 && costs.updates[0].1 > Duration::ZERO, "{costs:?}");
    assert!(costs.unroll > Duration::ZERO);
    let open = OpenSplit { actors: true, learner_threads: true };
    assert_eq!(measure(&config, &device, open, 2).unwrap().updates[0].0, 1);
}

#[test]
fn what_would_take_long_is_estimated() {
    let config = config("hidden = [4096, 4096]");
    let open = OpenSplit { actors: true, learner_threads: true };
    let costs = measure(&config, &ComputeDevice::cpu(), open, 8).unwrap();
    // A third of an update's work is the forward pass, which is the unroll's.
    let (update, unroll) = (costs.updates[0].1.as_secs_f64(), costs.unroll.as_secs_f64());
    assert!((update / unroll - 3.0).abs() < 1e-6, "{costs:?}");
    assert_eq!(costs.updates.last().unwrap().0, 8);
}
