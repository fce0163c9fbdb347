use super::*;
use impala_common::ids::ActorIndex;
use impala_env::array::{ArrayMut, ArrayRef};
use impala_env::{EnvironmentKind, StateError, Step, VectorEnvironment};
use impala_policy::activation::Activation;
use impala_policy::network::{NetworkSpec, PolicyHead};
use std::time::Duration;

fn plan() -> RollPlan {
    let network = NetworkSpec {
        observation_len: 50,
        hidden: vec![8],
        activation: Activation::Relu,
        head: PolicyHead::single(3),
        normalises: false,
    };
    RollPlan {
        environment: impala_env::builtin().get(&"catch".parse().unwrap()).unwrap().clone(),
        network,
        unroll_length: 4,
        environments: 2,
        seed: 1,
        actor_index: ActorIndex(1),
    }
}

fn weights(version: u64) -> Option<Arc<Weights>> {
    let parameters = vec![0.1; plan().network.parameter_count()];
    Some(Arc::new(Weights { version: WeightsVersion(version), parameters }))
}

/// A rollout and everything that drives it by hand.
struct Rig {
    task: RolloutTask,
    weights: watch::Sender<Option<Arc<Weights>>>,
    window: Arc<Window>,
    trajectories: mpsc::Receiver<Trajectory>,
    stop: CancellationToken,
}

fn start(lockstep: Option<Lockstep>, kept: Option<Roller>, next: Sequence) -> Rig {
    start_with(plan(), lockstep, kept, next)
}

fn start_with(plan: RollPlan, lockstep: Option<Lockstep>, kept: Option<Roller>, next: Sequence) -> Rig {
    // Room for all that a test makes: only the window holds the rollout back.
    let (sender, trajectories) = mpsc::channel(64);
    let (weights, weights_receiver) = watch::channel(None);
    let (window, stop) = (Arc::new(Window::new(0)), CancellationToken::new());
    let rollout = Rollout {
        plan,
        kept,
        next,
        lockstep,
        weights: weights_receiver,
        window: Arc::clone(&window),
        trajectories: sender,
        stop: stop.clone(),
    };
    Rig { task: RolloutTask::spawn(rollout), weights, window, trajectories, stop }
}

#[tokio::test]
async fn each_permit_makes_one_trajectory_with_the_newest_weights() {
    let mut rig = start(None, None, Sequence(0));
    rig.weights.send_replace(weights(1));
    for sequence in 0..3 {
        rig.weights.send_replace(weights(10 + sequence));
        rig.window.open(1);
        let trajectory = rig.trajectories.recv().await.unwrap();
        assert_eq!(
            (trajectory.sequence, trajectory.weights_version),
            (Sequence(sequence), WeightsVersion(10 + sequence))
        );
    }
    rig.stop.cancel();
    let end = rig.task.join().await.unwrap();
    end.result.unwrap();
    assert_eq!(end.next, Sequence(3));
    assert!(rig.trajectories.recv().await.is_none(), "no more trajectories than permits");
}

/// Lets time pass: as much as a rollout of its own takes from its start to its first trajectory.
async fn another_trajectory() {
    let mut rig = start(None, None, Sequence(0));
    rig.weights.send_replace(weights(1));
    rig.window.open(1);
    rig.trajectories.recv().await.unwrap();
    rig.stop.cancel();
}

#[tokio::test]
async fn each_trajectory_tells_what_the_rollout_waited_for() {
    let mut rig = start(None, None, Sequence(0));
    rig.weights.send_replace(weights(1));
    rig.window.open(1);
    let first = rig.trajectories.recv().await.unwrap().time();
    // Only lower bounds: how much longer it takes is the machine's affair.
    let since = Instant::now();
    another_trajectory().await;
    let closed = since.elapsed();
    rig.window.open_for(WeightsVersion(2));
    let second = rig.trajectories.try_recv();
    let since = Instant::now();
    another_trajectory().await;
    let held_up = since.elapsed();
    rig.weights.send_replace(weights(2));
    let third = rig.trajectories.recv().await.unwrap().time();
    rig.stop.cancel();
    assert!(second.is_err(), "made with weights that are too old");
    assert!(third.room >= closed && third.blocked() >= closed + held_up, "{third:?}, {closed:?}, {held_up:?}");
    assert!(first.unroll > Duration::ZERO && third.unroll > Duration::ZERO);
}

#[tokio::test]
async fn a_stop_ends_the_wait_for_weights_and_for_the_window() {
    for permits in [0, 1] {
        let rig = start(None, None, Sequence(0));
        rig.window.open(permits);
        rig.stop.cancel();
        assert_eq!(rig.task.join().await.unwrap().next, Sequence(0));
    }
}

#[tokio::test]
async fn a_rollout_whose_receiver_is_gone_ends_and_counts_what_it_made() {
    let rig = start(None, None, Sequence(5));
    drop(rig.trajectories);
    rig.weights.send_replace(weights(1));
    rig.window.open(1);
    let end = rig.task.join().await.unwrap();
    end.result.unwrap();
    assert_eq!(end.next, Sequence(6));
}

#[tokio::test]
async fn a_kept_roller_goes_on_where_it_was() {
    let unroll_twice = async |restart: bool| {
        let mut rig = start(None, None, Sequence(0));
        rig.weights.send_replace(weights(1));
        rig.window.open(1);
        rig.trajectories.recv().await.unwrap();
        if restart {
            rig.stop.cancel();
            let end = rig.task.join().await.unwrap();
            rig = start(None, Some(end.roller), end.next);
            rig.weights.send_replace(weights(1));
        }
        rig.window.open(1);
        let second = rig.trajectories.recv().await.unwrap();
        rig.stop.cancel();
        // Without the times, which no two runs share.
        second.into_parts()
    };
    assert_eq!(unroll_twice(true).await, unroll_twice(false).await);
}

#[tokio::test]
async fn lockstep_waits_for_exactly_its_version() {
    let lockstep = Lockstep { actors: 2, trajectories_per_batch: 1 };
    let mut rig = start(Some(lockstep), None, Sequence(0));
    rig.window.open(8);
    // Actor 1 of 2 with batches of one: versions 1, 3, 5 ...
    for version in [0, 1, 2, 3] {
        rig.weights.send_replace(weights(version));
        if version % 2 == 1 {
            let trajectory = rig.trajectories.recv().await.unwrap();
            assert_eq!(trajectory.weights_version, WeightsVersion(version));
        }
    }
    rig.weights.send_replace(weights(6));
    let error = rig.task.join().await.unwrap().result.unwrap_err().to_string();
    assert_eq!(error, "trajectory 2 of this lockstep run needs weights version 5, the learner is at 6 already");
}

/// Catch with a memory that no checkpoint takes.
struct Hoarder(Box<dyn VectorEnvironment>);

impl VectorEnvironment for Hoarder {
    fn environments(&self) -> usize {
        self.0.environments()
    }

    fn observe(&self, observations: ArrayMut<'_>, masks: &mut [u8]) {
        self.0.observe(observations, masks);
    }

    fn step(&mut self, actions: ArrayRef<'_>, step: Step<'_>) {
        self.0.step(actions, step);
    }

    fn state(&self) -> Vec<u8> {
        vec![7; 5000]
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), StateError> {
        Err(StateError::new("hoarder", self.environments()))
    }
}

#[tokio::test]
async fn a_state_that_no_checkpoint_takes_ends_a_deterministic_run_and_no_other() {
    let catch = plan().environment;
    let kind = EnvironmentKind::new("hoarder", 50, 3, 1.0, move |rngs| Box::new(Hoarder(catch.make(rngs)))).unwrap();
    let hoarding = || Some(Roller::new(RollPlan { environment: kind.clone(), ..plan() }));
    let run = |lockstep| {
        let rig = start_with(RollPlan { environment: kind.clone(), ..plan() }, lockstep, hoarding(), Sequence(0));
        rig.window.open(1);
        rig.weights.send_replace(weights(1));
        rig
    };
    let error = run(Some(Lockstep { actors: 2, trajectories_per_batch: 1 })).task.join().await.unwrap().result;
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("2 hoarder environments have a state of 5"), "{error}");
    assert!(error.contains("keeps at most 3872") && error.contains("--deterministic"), "{error}");
    let mut free = run(None);
    assert_eq!(free.trajectories.recv().await.unwrap().actor_state(), None);
}

#[tokio::test]
async fn a_panic_is_an_error_that_tells_it() {
    let rig = start(None, None, Sequence(0));
    rig.window.open(1);
    rig.weights.send_replace(Some(Arc::new(Weights { version: WeightsVersion(0), parameters: vec![] })));
    let Err(error) = rig.task.join().await else { panic!("parameters of another network were taken") };
    let error = error.to_string();
    assert!(error.starts_with("the rollout panicked: ") && error.contains("another network"), "{error}");
}

#[tokio::test]
async fn weights_that_overflow_are_an_error_that_names_trajectory_and_version() {
    let rig = start(None, None, Sequence(7));
    rig.window.open(1);
    let parameters = vec![f32::MAX; plan().network.parameter_count()];
    rig.weights.send_replace(Some(Arc::new(Weights { version: WeightsVersion(4), parameters })));
    let error = rig.task.join().await.unwrap().result.unwrap_err().to_string();
    assert!(error.starts_with("trajectory 7 made with weights version 4 is not valid: behaviour_log_probs"), "{error}");
}

#[tokio::test]
async fn after_a_stale_trajectory_the_next_is_made_with_newer_weights() {
    let mut rig = start(None, None, Sequence(0));
    rig.weights.send_replace(weights(4));
    rig.window.open(1);
    assert_eq!(rig.trajectories.recv().await.unwrap().weights_version, WeightsVersion(4));
    rig.window.open_for(WeightsVersion(5));
    // Only weights that are new enough let it go on, whenever it looks.
    rig.weights.send_replace(weights(3));
    rig.weights.send_replace(weights(9));
    assert_eq!(rig.trajectories.recv().await.unwrap().weights_version, WeightsVersion(9));
    rig.stop.cancel();
}
