//! Who works for this learner: checks registrations against the run, hands out actor indices and sessions, knows which
//! actors are connected.

use crate::handover::demand::WeightsDemand;
use crate::handover::ledger::{Ledger, PRODUCED_MAX};
use crate::handover::weights::PublishedWatch;
use bytes::Bytes;
use impala_common::agreement::{Agreement, Lockstep, PROTOCOL_VERSION, TakeUp};
use impala_common::ids::{ActorIndex, Incarnation, Session};
use impala_common::snapshot::Encoding;
use impala_common::wire::Registration;
use impala_env::spec::EnvironmentSpec;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Time that a registered actor has to open its stream before its index may go to another.
const RESERVATION: Duration = Duration::from_secs(10);
/// Longest name of an actor, bytes; names appear in logs.
const NAME_LEN_MAX: usize = 256;
/// Names whose index is remembered for their return; later ones get any free index.
const NAMES_MAX: usize = 1 << 16;
/// Largest actor index; bounds what a peer can make the learner remember.
const INDEX_MAX: u32 = 1 << 20;

/// Why an actor is turned away.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RegisterError {
    /// The wire contracts differ.
    #[error("the actor speaks protocol version {actor}, the learner {learner}: run the same release on both sides")]
    Protocol {
        /// The actor's.
        actor: u32,
        /// The learner's.
        learner: u32,
    },
    /// The actor cannot run the learner's environment.
    #[error(
        "the learner trains {learner}, the actor offers {actor}: start the actor without --environment or with this one"
    )]
    Environment {
        /// The learner's.
        learner: EnvironmentSpec,
        /// All of the actor's.
        actor: String,
    },
    /// The actor can decode none of the encodings that the learner can fall back to.
    #[error(
        "the learner sends weights as {learner} or f32, the actor decodes {actor}: run the same release on both sides"
    )]
    Encoding {
        /// The learner's choice.
        learner: Encoding,
        /// All of the actor's.
        actor: String,
    },
    /// The name, the index or the count of trajectories is out of bounds.
    #[error("actor {field} {value} is out of bounds: {requirement}")]
    Bounds {
        /// `name`, `index` or `count`.
        field: &'static str,
        /// Its value (shortened).
        value: String,
        /// What it must satisfy.
        requirement: String,
    },
    /// A lockstep run has all its actors.
    #[error("this deterministic run has all of its {actors} actors: start the learner with a higher --actors")]
    Full {
        /// Actors of the run.
        actors: u32,
    },
    /// Another live process holds the index.
    #[error("actor index {index} is held by the live actor `{holder}`: choose another --index, or none")]
    Taken {
        /// The wanted index.
        index: ActorIndex,
        /// Name of its holder.
        holder: String,
    },
}

/// Where the actors of a deterministic run go on.
#[derive(Clone, Debug, Default)]
pub struct TakeUps {
    /// Updates done before this learner.
    pub updates: u64,
    /// By actor index: the state behind its last trajectory in them.
    pub states: BTreeMap<u32, Bytes>,
}

impl TakeUps {
    fn of(&self, lockstep: Lockstep, actor: ActorIndex) -> TakeUp {
        let state = self.states.get(&actor.0).cloned().unwrap_or_default();
        TakeUp { next: lockstep.first_behind(self.updates, actor), state }
    }
}

/// One registered actor.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its place in the run.
    pub actor_index: ActorIndex,
    /// Its process.
    pub incarnation: Incarnation,
    /// Its name.
    pub name: String,
    /// How it wants weights.
    pub encoding: Encoding,
    /// When it is sent newer ones.
    pub demand: Arc<WeightsDemand>,
}

/// Hands out sessions; shared by the service's tasks.
#[derive(Debug)]
pub struct Registry {
    /// The agreement of every actor but for session, index and encoding.
    template: Agreement,
    take_ups: TakeUps,
    ledger: Arc<Ledger>,
    published: PublishedWatch,
    state: Mutex<State>,
    connected: watch::Sender<usize>,
}

#[derive(Debug)]
struct State {
    next_session: u64,
    sessions: HashMap<Session, Seat>,
    names: HashMap<String, ActorIndex>,
}

#[derive(Debug)]
struct Seat {
    member: Member,
    registered: Instant,
    connected: bool,
}

impl Seat {
    fn is_live(&self) -> bool {
        self.connected || self.registered.elapsed() < RESERVATION
    }
}

impl Registry {
    /// A registry for one run. Sessions count up from `first_session`, a random number, so that those of an earlier
    /// learner are not mistaken for this one's.
    pub fn new(
        template: Agreement,
        take_ups: TakeUps,
        ledger: Arc<Ledger>,
        published: PublishedWatch,
        first_session: u64,
    ) -> Self {
        let state = State { next_session: first_session, sessions: HashMap::new(), names: HashMap::new() };
        Self { template, take_ups, ledger, published, state: Mutex::new(state), connected: watch::channel(0).0 }
    }

    /// The agreement that every registration gets, but for session, index and encoding.
    pub fn template(&self) -> &Agreement {
        &self.template
    }

    /// Admits an actor to the run; tells in a deterministic one where it goes on.
    ///
    /// # Errors
    /// The two sides do not fit together, or the index is taken; the message names both sides' values.
    pub fn register(&self, registration: &Registration) -> Result<(Agreement, Option<TakeUp>), RegisterError> {
        self.check(registration)?;
        let encoding = self.encoding_for(registration)?;
        let mut state = self.lock();
        // The same process registers again after a broken connection: its old session is over.
        state.sessions.retain(|_, seat| seat.member.incarnation != registration.incarnation && seat.is_live());
        let actor_index = self.choose_index(&state, registration)?;
        state.next_session = state.next_session.wrapping_add(1);
        let session = Session(state.next_session);
        let member = Member {
            actor_index,
            incarnation: registration.incarnation,
            name: registration.actor_name.clone(),
            encoding,
            demand: Arc::new(WeightsDemand::new(self.published.clone())),
        };
        if state.names.len() < NAMES_MAX {
            state.names.insert(member.name.clone(), actor_index);
        }
        state.sessions.insert(session, Seat { member, registered: Instant::now(), connected: false });
        let take_up = self.template.lockstep.map(|lockstep| self.take_ups.of(lockstep, actor_index));
        // In a deterministic run its trajectories count from the run's start, whichever process makes them.
        let produced = take_up.as_ref().map_or(registration.produced, |take_up| take_up.next);
        self.ledger.register(registration.incarnation, produced);
        Ok((Agreement { session, actor_index, encoding, ..self.template.clone() }, take_up))
    }

    /// The registered actor of a session.
    pub fn member(&self, session: Session) -> Option<Member> {
        self.lock().sessions.get(&session).map(|seat| seat.member.clone())
    }

    /// An actor opens its trajectory stream; `None` if the session is unknown or has one already.
    pub fn connect(&self, session: Session) -> Option<Member> {
        let mut state = self.lock();
        let seat = state.sessions.get_mut(&session).filter(|seat| !seat.connected)?;
        seat.connected = true;
        let member = seat.member.clone();
        self.connected.send_modify(|count| *count += 1);
        Some(member)
    }

    /// The stream that [`Registry::connect`] opened has ended; its index is free for others.
    pub fn disconnect(&self, session: Session) {
        // The seat may be gone already, if the same process has registered anew; its stream ends here all the same.
        self.lock().sessions.remove(&session);
        self.connected.send_modify(|count| *count -= 1);
    }

    /// Watches the number of actors with an open trajectory stream.
    pub fn connected(&self) -> watch::Receiver<usize> {
        self.connected.subscribe()
    }

    fn check(&self, registration: &Registration) -> Result<(), RegisterError> {
        if registration.protocol_version != PROTOCOL_VERSION {
            return Err(RegisterError::Protocol { actor: registration.protocol_version, learner: PROTOCOL_VERSION });
        }
        let name_len = registration.actor_name.len();
        if !(1..=NAME_LEN_MAX).contains(&name_len) {
            let requirement = format!("1 to {NAME_LEN_MAX} bytes");
            return Err(RegisterError::Bounds { field: "name", value: format!("of {name_len} bytes"), requirement });
        }
        let produced = registration.produced.0;
        if produced > PRODUCED_MAX {
            let requirement = format!("at most {PRODUCED_MAX}");
            return Err(RegisterError::Bounds { field: "count", value: produced.to_string(), requirement });
        }
        if !registration.environments.contains(&self.template.environment) {
            let offered: Vec<_> = registration.environments.iter().map(ToString::to_string).collect();
            let learner = self.template.environment.clone();
            return Err(RegisterError::Environment { learner, actor: offered.join(", ") });
        }
        Ok(())
    }

    /// The learner's own choice where the actor can decode it, else `f32`, which loses nothing.
    fn encoding_for(&self, registration: &Registration) -> Result<Encoding, RegisterError> {
        let learner = self.template.encoding;
        let wanted = [learner, Encoding::F32].into_iter().find(|e| registration.encodings.contains(e));
        wanted.ok_or_else(|| {
            let offered: Vec<_> = registration.encodings.iter().map(ToString::to_string).collect();
            RegisterError::Encoding { learner, actor: format!("[{}]", offered.join(", ")) }
        })
    }

    /// The wanted index; else the one that this name had before; else the lowest free one.
    fn choose_index(&self, state: &State, registration: &Registration) -> Result<ActorIndex, RegisterError> {
        let holder = |index: ActorIndex| state.sessions.values().find(|seat| seat.member.actor_index == index);
        let bound = self.template.lockstep.map_or(INDEX_MAX, |lockstep| lockstep.actors);
        if let Some(index) = registration.actor_index {
            if index.0 >= bound {
                let requirement = format!("below {bound}");
                return Err(RegisterError::Bounds { field: "index", value: index.to_string(), requirement });
            }
            return match holder(index) {
                Some(seat) => Err(RegisterError::Taken { index, holder: seat.member.name.clone() }),
                None => Ok(index),
            };
        }
        let held: HashSet<ActorIndex> = state.sessions.values().map(|seat| seat.member.actor_index).collect();
        let before = state.names.get(&registration.actor_name).copied();
        let mut candidates = before.into_iter().chain((0..bound).map(ActorIndex));
        candidates.find(|index| !held.contains(index)).ok_or(RegisterError::Full { actors: bound })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the registry panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_common::ids::Sequence;
    use impala_env::spec::EnvironmentName;
    use impala_policy::activation::Activation;
    use impala_policy::network::NetworkSpec;

    fn registry(lockstep: Option<Lockstep>) -> Registry {
        let environment = EnvironmentName::CartPoleV1.spec();
        let template = Agreement {
            session: Session(0),
            actor_index: ActorIndex(0),
            network: NetworkSpec { observation_len: 4, hidden: vec![8], activation: Activation::Tanh, action_count: 2 },
            environment,
            unroll_length: 5,
            environments_per_actor: 2,
            seed: 1,
            encoding: Encoding::F16Delta,
            in_flight_max: 1,
            lockstep,
        };
        Registry::new(template, TakeUps::default(), Arc::default(), watch::channel(None).1, 100)
    }

    fn registration(name: &str, incarnation: u64) -> Registration {
        Registration {
            protocol_version: PROTOCOL_VERSION,
            actor_name: name.into(),
            incarnation: Incarnation(incarnation),
            actor_index: None,
            produced: Sequence(0),
            environments: EnvironmentName::ALL.map(EnvironmentName::spec).to_vec(),
            encodings: Encoding::ALL.to_vec(),
        }
    }

    fn register(registry: &Registry, registration: &Registration) -> Agreement {
        registry.register(registration).unwrap().0
    }

    #[test]
    fn actors_of_a_resumed_deterministic_run_are_told_where_to_go_on() {
        let mut registry = registry(Some(Lockstep { actors: 2, trajectories_per_batch: 3 }));
        let states = BTreeMap::from([(0, Bytes::from_static(b"zero")), (1, Bytes::from_static(b"one"))]);
        registry.take_ups = TakeUps { updates: 3, states };
        // Nine trajectories are trained: five of actor 0, four of actor 1. What the process made before does not matter.
        let veteran = Registration { produced: Sequence(70), ..registration("a", 1) };
        let take_up = |next, state| Some(TakeUp { next: Sequence(next), state: Bytes::from_static(state) });
        assert_eq!(registry.register(&veteran).unwrap().1, take_up(5, b"zero"));
        assert_eq!(registry.register(&registration("b", 2)).unwrap().1, take_up(4, b"one"));
        registry.ledger.arrive(Incarnation(1), Sequence(5)).unwrap();
        assert_eq!(registry.ledger.account().produced, 1);
    }

    #[test]
    fn indices_are_distinct_and_return_to_the_same_name() {
        let registry = registry(None);
        let a = register(&registry, &registration("a", 1));
        let b = register(&registry, &registration("b", 2));
        assert_eq!((a.actor_index, b.actor_index), (ActorIndex(0), ActorIndex(1)));
        registry.connect(a.session).unwrap();
        registry.connect(b.session).unwrap();
        assert_eq!(*registry.connected().borrow(), 2);
        registry.disconnect(a.session);
        registry.disconnect(b.session);
        assert_eq!(register(&registry, &registration("b", 3)).actor_index, ActorIndex(1));
        assert_eq!(register(&registry, &registration("c", 4)).actor_index, ActorIndex(0));
    }

    #[test]
    fn a_live_index_is_not_given_away_but_the_same_process_may_return() {
        let registry = registry(None);
        let wanted =
            |name, incarnation| Registration { actor_index: Some(ActorIndex(3)), ..registration(name, incarnation) };
        let first = register(&registry, &wanted("a", 1));
        let error = registry.register(&wanted("b", 2)).unwrap_err();
        assert_eq!(error, RegisterError::Taken { index: ActorIndex(3), holder: "a".into() });
        let again = register(&registry, &wanted("a", 1));
        assert!(registry.connect(first.session).is_none());
        assert_eq!(registry.connect(again.session).unwrap().actor_index, ActorIndex(3));
        assert!(registry.connect(again.session).is_none());
    }

    #[test]
    fn what_does_not_fit_is_named_with_both_sides_values() {
        let registry = registry(Some(Lockstep { actors: 1, trajectories_per_batch: 1 }));
        let error = |change: fn(&mut Registration)| {
            let mut registration = registration("x", 9);
            change(&mut registration);
            registry.register(&registration).unwrap_err().to_string()
        };
        assert!(error(|r| r.protocol_version = 2).contains("version 2, the learner 1"));
        let catch_only = error(|r| r.environments.retain(|e| e.name == "catch"));
        assert!(catch_only.contains("trains cartpole-v1") && catch_only.contains("offers catch"), "{catch_only}");
        let other_shape = error(|r| r.environments.iter_mut().for_each(|e| e.observation_len = 9));
        assert!(other_shape.contains("observation length 4") && other_shape.contains("observation length 9"));
        assert!(error(|r| r.encodings = vec![Encoding::Bf16]).contains("f16-delta or f32, the actor decodes [bf16]"));
        assert!(error(|r| r.actor_name.clear()).contains("name of 0 bytes"));
        assert!(error(|r| r.actor_index = Some(ActorIndex(1))).contains("index 1 is out of bounds: below 1"));
        register(&registry, &registration("a", 1));
        assert!(error(|_| ()).contains("all of its 1 actors"));
    }

    #[test]
    fn an_actor_without_the_wanted_encoding_gets_f32() {
        let old = Registration { encodings: vec![Encoding::F32], ..registration("old", 1) };
        assert_eq!(register(&registry(None), &old).encoding, Encoding::F32);
    }
}
