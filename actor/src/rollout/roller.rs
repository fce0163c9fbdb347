//! The roller: environments, policy and unroll buffer of one actor, without threads or channels.

use crate::unroll::UnrollBuffer;
use crate::weights::Weights;
use impala_common::agreement::Agreement;
use impala_common::ids::{ActorIndex, Sequence};
use impala_common::trajectory::{Episode, Trajectory, TrajectoryError, TrajectoryShape};
use impala_env::seed::{self, Purpose, Rng};
use impala_env::{EnvironmentKind, Half, StateError, StateOfFormat1, VectorEnvironment};
use impala_policy::action_scale::ActionScale;
use impala_policy::network::NetworkSpec;
use impala_policy::policy::Policy;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// All that decides what a roller does, given the weights: two rollers of one plan make the same trajectories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollPlan {
    /// What to step.
    pub environment: EnvironmentKind,
    /// What to act with.
    pub network: NetworkSpec,
    /// T
    pub unroll_length: usize,
    /// N
    pub environments: usize,
    /// The run's seed.
    pub seed: u64,
    /// The actor's place in the run.
    pub actor_index: ActorIndex,
}

impl RollPlan {
    /// What the agreement asks of an actor that has the environment.
    pub fn of(agreement: &Agreement, environment: EnvironmentKind) -> Self {
        Self {
            environment,
            network: agreement.network.clone(),
            unroll_length: agreement.unroll_length,
            environments: agreement.environments_per_actor,
            seed: agreement.seed,
            actor_index: agreement.actor_index,
        }
    }
}

/// Version of a roller's saved state. Format 1 differs in the environments' part; it is still read.
const STATE_FORMAT: u8 = 2;

/// What a roller's next trajectories depend on besides plan and weights: the environments' own bytes, in format 1 those of a
/// closed set of environments, then the rest.
#[derive(Serialize, Deserialize)]
struct State<E> {
    environment: E,
    policy: Rng,
    returns: Vec<f64>,
    lengths: Vec<u32>,
}

impl State<Vec<u8>> {
    /// The state in the bytes of [`Roller::save`], of this release or of one that wrote format 1.
    fn decode(bytes: &[u8]) -> Result<Self, TakeUpError> {
        let (format, bytes) = bytes.split_first().ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        match *format {
            1 => {
                let State { environment, policy, returns, lengths }: State<StateOfFormat1> =
                    postcard::from_bytes(bytes)?;
                Ok(Self { environment: environment.into_bytes(), policy, returns, lengths })
            }
            STATE_FORMAT => Ok(postcard::from_bytes(bytes)?),
            other => Err(TakeUpError::Format(other)),
        }
    }
}

/// A saved state that cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum TakeUpError {
    /// Another release wrote it.
    #[error("its format is {0}, this release reads 1 and {STATE_FORMAT}")]
    Format(u8),
    /// The bytes are not what [`Roller::save`] writes.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] postcard::Error),
    /// It belongs to other environments.
    #[error(transparent)]
    Environment(#[from] StateError),
    /// The running episodes are not those of the environments.
    #[error("its running episodes are not those of {0} environments")]
    Episodes(usize),
}

/// Why an unroll gives no trajectory.
#[derive(Debug, thiserror::Error)]
pub enum UnrollError {
    /// A number of it is not finite, e.g. because the weights overflow the network.
    #[error(transparent)]
    Trajectory(#[from] TrajectoryError),
    /// The environments could not go on.
    #[error("{0}")]
    Environment(String),
}

/// Steps all environments of an actor with one policy.
pub struct Roller {
    plan: RollPlan,
    environment: Box<dyn VectorEnvironment>,
    policy: Policy,
    scale: ActionScale,
    rng: Rng,
    buffer: UnrollBuffer,
    /// The weights that the policy holds.
    weights: Option<Arc<Weights>>,
}

impl Roller {
    /// Environments at the start of their first episodes.
    pub fn new(plan: RollPlan) -> Self {
        let ActorIndex(actor) = plan.actor_index;
        let spec = plan.environment.spec();
        let shape = TrajectoryShape::new(plan.unroll_length, plan.environments, spec, &plan.network.head);
        let environment = plan.environment.make(impala_env::rngs(plan.seed, actor, plan.environments));
        let mut buffer = UnrollBuffer::new(shape);
        let (observations, masks) = buffer.first_observations();
        environment.observe(observations, masks);
        Self {
            scale: ActionScale::new(&spec.actions, &plan.network.head),
            policy: Policy::new(&plan.network),
            rng: seed::rng(plan.seed, Purpose::Policy { actor }),
            environment,
            buffer,
            weights: None,
            plan,
        }
    }

    /// The roller that saved `state`, as it was then; `plan` must be that roller's.
    ///
    /// # Errors
    /// The state is damaged or does not belong to the plan.
    pub fn take_up(plan: RollPlan, state: &[u8]) -> Result<Self, TakeUpError> {
        let environments = plan.environments;
        let State { environment, policy, returns, lengths } = State::decode(state)?;
        let mut roller = Self::new(plan);
        roller.environment.restore(&environment)?;
        let (observations, masks) = roller.buffer.first_observations();
        roller.environment.observe(observations, masks);
        roller.rng = policy;
        if !roller.buffer.take_up_episodes(returns, lengths) {
            return Err(TakeUpError::Episodes(environments));
        }
        Ok(roller)
    }

    /// What the next trajectories depend on besides plan and weights: environments, random sources, running episodes.
    pub fn save(&self) -> Vec<u8> {
        let (returns, lengths) = self.buffer.running_episodes();
        let state = State {
            environment: self.environment.state(),
            policy: self.rng.clone(),
            returns: returns.to_vec(),
            lengths: lengths.to_vec(),
        };
        postcard::to_extend(&state, vec![STATE_FORMAT]).expect("plain numbers are written to memory")
    }

    /// What it does.
    pub fn plan(&self) -> &RollPlan {
        &self.plan
    }

    /// The episodes that ended in the newest trajectory, in the order of its outcomes.
    pub fn ended_episodes(&self) -> &[Episode] {
        self.buffer.ended_episodes()
    }

    /// T steps of all environments with these weights.
    ///
    /// # Errors
    /// A number of the trajectory is not finite, or the environments could not go on.
    ///
    /// # Panics
    /// If the weights are another network's.
    pub fn unroll(&mut self, sequence: Sequence, weights: &Arc<Weights>) -> Result<Trajectory, UnrollError> {
        if !self.weights.as_ref().is_some_and(|held| Arc::ptr_eq(held, weights)) {
            self.policy.set_parameters(&weights.parameters);
            self.weights = Some(Arc::clone(weights));
        }
        match self.environment.halves().map(|halves| halves.first()) {
            None => self.step_all()?,
            Some(first) => self.step_by_halves(first)?,
        }
        Ok(self.buffer.finish(sequence, weights.version)?)
    }

    fn step_all(&mut self) -> Result<(), UnrollError> {
        while !self.buffer.is_full() {
            let (observations, masks, decision) = self.buffer.decision();
            self.policy.act(observations, masks, &mut self.rng, decision);
            let (actions, step) = self.buffer.transition();
            self.environment.step(self.scale.apply(actions), step);
            self.check()?;
            self.buffer.advance();
        }
        Ok(())
    }

    /// The same steps of environments that are waited for: half of them step while actions are chosen for the others. Policy and draws
    /// see the rows in the same order, so nothing else is different.
    fn step_by_halves(&mut self, first: usize) -> Result<(), UnrollError> {
        let (first, second) = (0..first, first..self.plan.environments);
        self.begin(Half::First, &first, 0);
        while !self.buffer.is_full() {
            self.begin(Half::Second, &second, 0);
            self.end(Half::First, &first)?;
            if !self.buffer.is_last() {
                self.begin(Half::First, &first, 1);
            }
            self.end(Half::Second, &second)?;
            self.buffer.advance();
        }
        Ok(())
    }

    fn begin(&mut self, half: Half, environments: &Range<usize>, ahead: usize) {
        let (observations, masks, decision) = self.buffer.decision_of(environments.clone(), ahead);
        self.policy.act(observations, masks, &mut self.rng, decision);
        let (actions, _) = self.buffer.transition_of(environments.clone(), ahead);
        let actions = self.scale.apply(actions);
        self.environment.halves().expect(HALVES).begin(half, actions);
    }

    fn end(&mut self, half: Half, environments: &Range<usize>) -> Result<(), UnrollError> {
        let (_, step) = self.buffer.transition_of(environments.clone(), 0);
        self.environment.halves().expect(HALVES).end(half, step);
        self.check()
    }

    fn check(&self) -> Result<(), UnrollError> {
        self.environment.fault().map_or(Ok(()), |fault| Err(UnrollError::Environment(fault)))
    }
}

/// What holds of environments once they have shown that they step by halves.
const HALVES: &str = "environments that step by halves do so for ever";

#[cfg(test)]
mod tests {
    use super::*;
    use impala_common::ids::WeightsVersion;
    use impala_common::trajectory::actor_state_bytes_max;
    use impala_env::array::{Array, ArrayMut, ArrayRef};
    use impala_env::{Halves, Outcome, Step, builtin};
    use impala_policy::activation::Activation;
    use impala_policy::network::PolicyHead;
    use rand::RngExt;

    fn kind(name: &str) -> EnvironmentKind {
        builtin().get(&name.parse().unwrap()).unwrap().clone()
    }

    fn plan() -> RollPlan {
        let hidden = vec![16];
        let network = NetworkSpec {
            observation_len: 4,
            hidden,
            activation: Activation::Tanh,
            head: PolicyHead::single(2),
            normalises: false,
        };
        RollPlan {
            environment: kind("cartpole-v1"),
            network,
            unroll_length: 30,
            environments: 5,
            seed: 3,
            actor_index: ActorIndex(1),
        }
    }

    fn weights(version: u64) -> Arc<Weights> {
        let mut rng = seed::rng(version, Purpose::Initialisation);
        let parameters = (0..plan().network.parameter_count()).map(|_| rng.random::<f32>() - 0.5).collect();
        Arc::new(Weights { version: WeightsVersion(version), parameters })
    }

    #[test]
    fn one_plan_and_one_series_of_weights_make_the_same_trajectories() {
        let mut rollers = [Roller::new(plan()), Roller::new(plan())];
        for sequence in 0..10 {
            let [a, b] = rollers.each_mut().map(|r| r.unroll(Sequence(sequence), &weights(sequence)).unwrap());
            assert_eq!(a, b);
            assert_eq!(rollers[0].ended_episodes(), rollers[1].ended_episodes());
            assert_eq!((a.sequence, a.weights_version), (Sequence(sequence), WeightsVersion(sequence)));
        }
        let other = RollPlan { actor_index: ActorIndex(2), ..plan() };
        let [mut a, mut b] = [Roller::new(plan()), Roller::new(other)];
        let [a, b] = [&mut a, &mut b].map(|r| r.unroll(Sequence(0), &weights(0)).unwrap());
        assert_ne!(a.observations, b.observations);
        assert_ne!(a.actions, b.actions);
    }

    /// Environments that step in two halves, each of which must be waited for before it steps again.
    struct InHalves {
        halves: [Box<dyn VectorEnvironment>; 2],
        under_way: [Option<Array>; 2],
    }

    impl VectorEnvironment for InHalves {
        fn environments(&self) -> usize {
            self.halves.iter().map(|half| half.environments()).sum()
        }

        fn observe(&self, mut observations: ArrayMut<'_>, _: &mut [u8]) {
            let (middle, end) = (2 * self.first(), 2 * self.environments());
            self.halves[0].observe(observations.reborrow().range(0..middle), &mut []);
            self.halves[1].observe(observations.range(middle..end), &mut []);
        }

        fn step(&mut self, _: ArrayRef<'_>, _: Step<'_>) {
            unreachable!("they step by halves");
        }

        fn halves(&mut self) -> Option<&mut dyn Halves> {
            Some(self)
        }

        fn state(&self) -> Vec<u8> {
            Vec::new()
        }

        fn restore(&mut self, _: &[u8]) -> Result<(), StateError> {
            Ok(())
        }
    }

    impl Halves for InHalves {
        fn first(&self) -> usize {
            self.halves[0].environments()
        }

        fn begin(&mut self, half: Half, actions: ArrayRef<'_>) {
            let begun = self.under_way[half as usize].replace(actions.u8().iter().copied().collect());
            assert_eq!(begun, None, "one step at a time");
        }

        fn end(&mut self, half: Half, step: Step<'_>) {
            let actions = self.under_way[half as usize].take().expect("it was begun");
            self.halves[half as usize].step(actions.view(), step);
        }
    }

    #[test]
    fn environments_that_step_by_halves_make_the_trajectories_of_whole_steps() {
        // All its episodes are cut after 200 steps.
        let car = kind("mountain-car-v0");
        let network = NetworkSpec { observation_len: 2, head: PolicyHead::single(3), ..plan().network };
        let whole = RollPlan { environment: car.clone(), network, ..plan() };
        let in_halves = EnvironmentKind::new("in-halves", 2, 3, 0.0, move |mut rngs| {
            let second = rngs.split_off(2);
            Box::new(InHalves { halves: [rngs, second].map(|rngs| car.make(rngs)), under_way: [None, None] })
        });
        let in_halves = RollPlan { environment: in_halves.unwrap(), ..whole.clone() };
        let mut rng = seed::rng(0, Purpose::Initialisation);
        let parameters = (0..whole.network.parameter_count()).map(|_| rng.random::<f32>() - 0.5).collect();
        let weights = Arc::new(Weights { version: WeightsVersion(1), parameters });
        let mut rollers = [whole, in_halves].map(Roller::new);
        let mut cut = 0;
        for sequence in 0..40 {
            let parts = rollers.each_mut().map(|r| r.unroll(Sequence(sequence), &weights).unwrap().into_parts());
            assert_eq!(parts[0], parts[1], "unroll {sequence}");
            assert_eq!(rollers[0].ended_episodes(), rollers[1].ended_episodes());
            cut += rollers[1].ended_episodes().len();
        }
        assert_eq!(cut, 6 * 5);
    }

    #[test]
    fn a_saved_roller_goes_on_to_the_bit() {
        for environment in builtin().kinds().iter().cloned() {
            let spec = environment.spec();
            let (observation_len, head) = (spec.observation_len(), PolicyHead::of(spec, false));
            let network =
                NetworkSpec { observation_len, hidden: vec![8], activation: Activation::Tanh, head, normalises: false };
            let parameters = vec![0.05; network.parameter_count()];
            let weights = Arc::new(Weights { version: WeightsVersion(1), parameters });
            let plan = RollPlan { environment, network, ..plan() };
            let mut roller = Roller::new(plan.clone());
            (0..7).for_each(|sequence| drop(roller.unroll(Sequence(sequence), &weights).unwrap()));
            let state = roller.save();
            assert!(state.len() <= actor_state_bytes_max(plan.environments, observation_len), "{} bytes", state.len());
            let mut other = Roller::take_up(plan.clone(), &state).unwrap();
            for sequence in 7..20 {
                let [a, b] = [&mut roller, &mut other].map(|r| r.unroll(Sequence(sequence), &weights).unwrap());
                assert_eq!(a, b);
                assert_eq!(roller.ended_episodes(), other.ended_episodes());
            }
            assert_eq!(roller.save(), other.save());
        }
    }

    /// States that the release before wrote, of actor 0 of two with 2 environments each, seed 7.
    #[test]
    fn a_state_of_format_1_is_taken_up() {
        let states: [(&str, &[u8]); 2] = [
            ("cartpole-v1", include_bytes!("../../tests/data/actor-state-format-1-cartpole.bin")),
            ("catch", include_bytes!("../../tests/data/actor-state-format-1-catch.bin")),
        ];
        for (name, state) in states {
            let environment = kind(name);
            let (observation_len, head) =
                (environment.spec().observation_len(), PolicyHead::of(environment.spec(), false));
            let network =
                NetworkSpec { observation_len, hidden: vec![], activation: Activation::Tanh, head, normalises: false };
            let weights =
                Arc::new(Weights { version: WeightsVersion(1), parameters: vec![0.0; network.parameter_count()] });
            let plan =
                RollPlan { environment, network, environments: 2, seed: 7, actor_index: ActorIndex(0), ..plan() };
            assert_eq!(state[0], 1);
            let mut roller = Roller::take_up(plan.clone(), state).unwrap();
            let saved = roller.save();
            assert_eq!(saved[0], STATE_FORMAT);
            // Nothing is lost on the way into the present format.
            let mut again = Roller::take_up(plan.clone(), &saved).unwrap();
            let [a, b] = [&mut roller, &mut again].map(|r| r.unroll(Sequence(0), &weights).unwrap());
            assert_eq!(a, b);
            // It is no fresh roller's.
            assert_ne!(a.observations, Roller::new(plan).unroll(Sequence(0), &weights).unwrap().observations);
        }
        let catch = states[1].1;
        let error = Roller::take_up(RollPlan { environments: 2, ..plan() }, catch).err().unwrap().to_string();
        assert_eq!(error, "the saved state is not one of 2 cartpole environments");
    }

    #[test]
    fn a_state_that_is_damaged_or_another_plans_is_refused() {
        let state = Roller::new(plan()).save();
        let refusal = |plan, state: &[u8]| Roller::take_up(plan, state).err().map(|error| error.to_string()).unwrap();
        assert!(refusal(plan(), &[]).contains("cannot be read"));
        assert!(refusal(plan(), &state[..state.len() - 9]).contains("cannot be read"));
        assert!(refusal(plan(), &[9, 1]).contains("format is 9"));
        let more = RollPlan { environments: 6, ..plan() };
        assert_eq!(refusal(more, &state), "the saved state is not one of 6 cartpole environments");
        let catch = RollPlan { environment: kind("catch"), ..plan() };
        let network = NetworkSpec { observation_len: 50, head: PolicyHead::single(3), ..plan().network };
        assert_eq!(
            refusal(RollPlan { network, ..catch }, &state),
            "the saved state is not one of 5 catch environments"
        );
        for position in 0..state.len() {
            let mut damaged = state.clone();
            damaged[position] ^= 0x80;
            // Whether it is noticed here depends on the bit: the checkpoint's checksum is what guards it. No panic, at least.
            let _ = Roller::take_up(plan(), &damaged);
        }
    }

    #[test]
    fn episode_lengths_agree_with_the_outcomes_over_many_unrolls() {
        let mut roller = Roller::new(plan());
        let (mut running, mut expected, mut counted) = ([0; 5], Vec::new(), Vec::new());
        for sequence in 0..20 {
            let trajectory = roller.unroll(Sequence(sequence), &weights(1)).unwrap();
            for outcomes in trajectory.outcomes.chunks_exact(5) {
                for (length, outcome) in running.iter_mut().zip(outcomes) {
                    *length += 1;
                    if *outcome != Outcome::Continues {
                        expected.push(std::mem::take(length));
                    }
                }
            }
            counted.extend(roller.ended_episodes().iter().map(|episode| episode.length));
            assert!(roller.ended_episodes().iter().all(|e| f64::from(e.episode_return) == f64::from(e.length)));
        }
        assert!(counted.len() > 50, "only {} episodes ended", counted.len());
        assert_eq!(counted, expected);
    }
}
