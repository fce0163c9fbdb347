//! Who works for this learner: checks registrations against the run, hands out actor indices and sessions, knows which
//! actors are connected.

mod draws;
mod seats;

use crate::handover::ledger::{Ledger, PRODUCED_MAX};
use crate::handover::tally::{self, ActorTally, Doings, Laggards};
use crate::handover::weights::{Delivery, SMALL_NETWORK_MAX};
use bytes::Bytes;
use draws::Draws;
use impala_common::agreement::{Agreement, Lockstep, PROTOCOL_VERSION, TakeUp};
use impala_common::ids::{ActorIndex, Incarnation, Session};
use impala_common::snapshot::Encoding;
use impala_common::wire::Registration;
use impala_env::spec::EnvironmentSpec;
use seats::{NoSeat, Seats};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Longest name of an actor, bytes; names appear in logs.
const NAME_LEN_MAX: usize = 256;
/// Largest actor index; bounds what a peer can make the learner remember.
const INDEX_MAX: u32 = 1 << 20;

/// Why an actor is turned away.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RegisterError {
    /// The wire contracts differ.
    #[error("the actor speaks protocol version {actor}, the learner {learner}: run the same release on both sides")]
    Protocol {
        /// The actor's value.
        actor: u32,
        /// The learner's value.
        learner: u32,
    },
    /// The actor cannot run the learner's environment.
    #[error(
        "the learner trains {learner}, the actor offers {actor}: start the actor without --environment or with this one"
    )]
    Environment {
        /// What the learner trains on.
        learner: Box<EnvironmentSpec>,
        /// Everything that the actor offers.
        actor: String,
    },
    /// The actor can decode none of the encodings that the learner can fall back to.
    #[error(
        "the learner sends weights as {learner} or f32, the actor decodes {actor}: run the same release on both sides"
    )]
    Encoding {
        /// The learner's choice.
        learner: Encoding,
        /// Everything that the actor offers.
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
    /// Somebody has the place who may not need it.
    #[error("the place is kept for an actor that has registered and sent nothing yet: ask again")]
    Reserved,
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
    /// By actor index: the state after its last trajectory in them.
    pub states: BTreeMap<u32, Bytes>,
}

impl TakeUps {
    fn of(&self, lockstep: Lockstep, actor: ActorIndex) -> TakeUp {
        let state = self.states.get(&actor.0).cloned().unwrap_or_default();
        TakeUp { next: lockstep.first_after(self.updates, actor), state }
    }
}

/// One registered actor.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its place in the run.
    pub actor_index: ActorIndex,
    /// Tells the actor's process from one before it.
    pub incarnation: Incarnation,
    /// The actor's name, stable across restarts.
    pub name: String,
    /// How it is sent weights.
    pub delivery: Delivery,
    /// Whether it can be handed evaluations.
    pub evaluates: bool,
    /// What becomes of its trajectories.
    pub tally: Arc<ActorTally>,
}

/// Hands out sessions; shared by the service's tasks.
#[derive(Debug)]
pub struct Registry {
    /// The agreement of every actor but for session, index, encoding and, without lockstep, seed.
    template: Agreement,
    take_ups: TakeUps,
    ledger: Arc<Ledger>,
    seats: Mutex<Seats>,
    draws: Mutex<Draws>,
    connected: watch::Sender<usize>,
}

/// What a registration comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// What both sides agree on.
    pub agreement: Agreement,
    /// How the actor is sent weights.
    pub delivery: Delivery,
    /// Where it goes on, in a deterministic run.
    pub take_up: Option<TakeUp>,
}

impl Registry {
    /// A registry for one run.
    pub fn new(template: Agreement, take_ups: TakeUps, ledger: Arc<Ledger>) -> Self {
        let (seats, draws) = (Mutex::new(Seats::new()), Mutex::new(Draws::new(template.seed, take_ups.updates)));
        Self { template, take_ups, ledger, seats, draws, connected: watch::channel(0).0 }
    }

    /// The agreement that every registration gets, but for session, index, encoding and, without lockstep, seed.
    pub fn template(&self) -> &Agreement {
        &self.template
    }

    /// Admits an actor to the run; `is_near` tells that it is on this machine.
    ///
    /// # Errors
    /// The two sides do not fit together, or the index is taken; the message names both sides' values.
    pub fn register(&self, registration: &Registration, is_near: bool) -> Result<Admission, RegisterError> {
        self.check(registration)?;
        let encoding = self.encoding_for(registration)?;
        let is_small = self.template.network.parameter_count() <= SMALL_NETWORK_MAX;
        let delivery = Delivery {
            encoding,
            is_stored: registration.stored_payloads && is_near && is_small,
            // An actor of a deterministic run waits for a version that may be published after its receipt.
            with_receipts: registration.weights_in_receipts && self.template.lockstep.is_none(),
        };
        let (session, actor_index) = self.seat(registration, delivery)?;
        let take_up = self.template.lockstep.map(|lockstep| self.take_ups.of(lockstep, actor_index));
        // In a deterministic run its trajectories count from the run's start, whichever process makes them.
        let produced = take_up.as_ref().map_or(registration.produced, |take_up| take_up.next);
        self.ledger.register(registration.incarnation, produced);
        let seed = match self.template.lockstep {
            // Whichever process makes them, a place's trajectories are the same.
            Some(_) => self.template.seed,
            None => self.draws.lock().expect("no holder of the draws panics").seed(actor_index),
        };
        let agreement = Agreement { session, actor_index, encoding, seed, ..self.template.clone() };
        Ok(Admission { agreement, delivery, take_up })
    }

    /// A registered actor opens a stream of weights, in place of one that it has; `None` if the session is unknown. The token tells
    /// the stream's end.
    pub fn watch(&self, session: Session) -> Option<(Member, CancellationToken)> {
        self.lock().watch(session).map(|(member, over)| (member.clone(), over))
    }

    /// An actor opens its trajectory stream; `None` if the session is unknown or has one already. The token tells that the same
    /// process has registered anew.
    pub fn connect(&self, session: Session) -> Option<(Member, CancellationToken)> {
        let (member, over) = self.lock().connect(session).map(|(member, over)| (member.clone(), over))?;
        self.connected.send_modify(|count| *count += 1);
        Some((member, over))
    }

    /// A connected actor has sent its first trajectory: its place is its own.
    pub fn works(&self, session: Session) {
        self.lock().works(session);
    }

    /// In a deterministic run, the connected actors that have sent nothing yet, by index.
    pub fn awaited(&self) -> Vec<(ActorIndex, String)> {
        let seats = self.lock();
        let mut awaited: Vec<_> = seats.idle().map(|member| (member.actor_index, member.name.clone())).collect();
        awaited.sort_unstable();
        awaited
    }

    /// The stream that [`Registry::connect`] opened has ended; its index is free for others.
    pub fn disconnect(&self, session: Session) {
        self.lock().remove(session);
        self.connected.send_modify(|count| *count -= 1);
    }

    /// Watches the number of actors with an open trajectory stream.
    pub fn connected(&self) -> watch::Receiver<usize> {
        self.connected.subscribe()
    }

    /// The actors whose policies are oldest, of those with an open trajectory stream.
    pub fn laggards(&self) -> Laggards {
        Laggards::among(self.lock().connected().map(|member| (member.name.as_str(), member.tally.as_ref())))
    }

    /// Every actor with an open trajectory stream and what it has been doing, in the order of their indices.
    pub fn fleet(&self) -> Vec<(ActorIndex, String, Option<Doings>)> {
        let seats = self.lock();
        let members: Vec<_> = seats.connected().map(|m| (m.actor_index, m.name.clone(), m.tally.clone())).collect();
        drop(seats);
        let mut fleet: Vec<_> = members.into_iter().map(|(index, name, tally)| (index, name, tally.doings())).collect();
        fleet.sort_unstable_by_key(|(index, _, _)| *index);
        fleet
    }

    /// Share of the trajectories under way, of actors with an open trajectory stream, that lie here and wait for their batch or its
    /// receipt; nothing while there is no telling.
    pub fn held(&self) -> Option<f64> {
        let held = tally::held(self.lock().connected().map(|member| member.tally.as_ref()))?;
        Some((held / self.template.in_flight_max as f64).min(1.0))
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
        // It appears in logs and on terminals.
        if !registration.actor_name.chars().all(is_printed) {
            let requirement = "only characters that are seen where they stand".to_owned();
            let value = registration.actor_name.escape_debug().to_string();
            return Err(RegisterError::Bounds { field: "name", value, requirement });
        }
        let produced = registration.produced.0;
        if produced > PRODUCED_MAX {
            let requirement = format!("at most {PRODUCED_MAX}");
            return Err(RegisterError::Bounds { field: "count", value: produced.to_string(), requirement });
        }
        if !registration.environments.contains(&self.template.environment) {
            let offered: Vec<_> = registration.environments.iter().map(ToString::to_string).collect();
            let learner = self.template.environment.clone();
            return Err(RegisterError::Environment { learner: Box::new(learner), actor: offered.join(", ") });
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

    fn seat(&self, registration: &Registration, delivery: Delivery) -> Result<(Session, ActorIndex), RegisterError> {
        let bound = self.template.lockstep.map_or(INDEX_MAX, |lockstep| lockstep.actors);
        let wanted = registration.actor_index;
        if let Some(index) = wanted.filter(|index| index.0 >= bound) {
            let requirement = format!("below {bound}");
            return Err(RegisterError::Bounds { field: "index", value: index.to_string(), requirement });
        }
        let member = Member {
            actor_index: wanted.unwrap_or(ActorIndex(0)),
            incarnation: registration.incarnation,
            name: registration.actor_name.clone(),
            delivery,
            evaluates: registration.evaluates,
            tally: Arc::default(),
        };
        let now = Instant::now().into_std();
        self.lock().seat(member, wanted, bound, now).map_err(|reason| match (reason, wanted) {
            (NoSeat::Taken { holder }, Some(index)) => RegisterError::Taken { index, holder },
            (NoSeat::Reserved, _) => RegisterError::Reserved,
            _ => RegisterError::Full { actors: bound },
        })
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().expect("no holder of the seats panics")
    }
}

/// Whether a character shows itself, and nothing else: neither controls nor what turns, joins or hides others.
fn is_printed(character: char) -> bool {
    ['\\', '"', '\''].contains(&character) || character.escape_debug().eq([character])
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_common::ids::Sequence;
    use impala_policy::activation::Activation;
    use impala_policy::network::{NetworkSpec, PolicyHead};

    fn registry(lockstep: Option<Lockstep>) -> Registry {
        let environment = impala_env::builtin().kinds()[0].spec().clone();
        let template = Agreement {
            session: Session(0),
            actor_index: ActorIndex(0),
            network: NetworkSpec {
                observation_len: 4,
                hidden: vec![8],
                activation: Activation::Tanh,
                head: PolicyHead::single(2),
                normalises: false,
            },
            environment,
            unroll_length: 5,
            environments_per_actor: 2,
            seed: 1,
            encoding: Encoding::F16Delta,
            in_flight_max: 1,
            lockstep,
        };
        Registry::new(template, TakeUps::default(), Arc::default())
    }

    fn registration(name: &str, incarnation: u64) -> Registration {
        Registration {
            protocol_version: PROTOCOL_VERSION,
            actor_name: name.into(),
            incarnation: Incarnation(incarnation),
            actor_index: None,
            produced: Sequence(0),
            environments: impala_env::builtin().kinds().iter().map(|kind| kind.spec().clone()).collect(),
            encodings: Encoding::ALL.to_vec(),
            weights_in_receipts: true,
            evaluates: true,
            stored_payloads: true,
        }
    }

    fn register(registry: &Registry, registration: &Registration) -> Agreement {
        registry.register(registration, true).unwrap().agreement
    }

    #[test]
    fn actors_of_a_resumed_deterministic_run_are_told_where_to_go_on() {
        let mut registry = registry(Some(Lockstep { actors: 2, trajectories_per_batch: 3 }));
        let states = BTreeMap::from([(0, Bytes::from_static(b"zero")), (1, Bytes::from_static(b"one"))]);
        registry.take_ups = TakeUps { updates: 3, states };
        // Nine trajectories are trained: five of actor 0, four of actor 1. What the process made before does not matter.
        let veteran = Registration { produced: Sequence(70), ..registration("a", 1) };
        let take_up = |next, state| Some(TakeUp { next: Sequence(next), state: Bytes::from_static(state) });
        assert_eq!(registry.register(&veteran, true).unwrap().take_up, take_up(5, b"zero"));
        assert_eq!(registry.register(&registration("b", 2), true).unwrap().take_up, take_up(4, b"one"));
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
        let error = registry.register(&wanted("b", 2), true).unwrap_err();
        assert_eq!(error, RegisterError::Reserved);
        let again = register(&registry, &wanted("a", 1));
        assert!(registry.connect(first.session).is_none());
        assert_eq!(registry.connect(again.session).unwrap().0.actor_index, ActorIndex(3));
        assert!(registry.connect(again.session).is_none());
        // It has sent nothing, and may never do.
        assert_eq!(registry.awaited(), [(ActorIndex(3), "a".to_owned())]);
        assert_eq!(registry.register(&wanted("b", 2), true).unwrap_err(), RegisterError::Reserved);
        registry.works(again.session);
        assert_eq!(registry.awaited(), []);
        let error = registry.register(&wanted("b", 2), true).unwrap_err();
        assert_eq!(error, RegisterError::Taken { index: ActorIndex(3), holder: "a".into() });
    }

    #[test]
    fn what_does_not_fit_is_named_with_both_sides_values() {
        let registry = registry(Some(Lockstep { actors: 1, trajectories_per_batch: 1 }));
        let error = |change: fn(&mut Registration)| {
            let mut registration = registration("x", 9);
            change(&mut registration);
            registry.register(&registration, true).unwrap_err().to_string()
        };
        assert!(error(|r| r.protocol_version = 1).contains("version 1, the learner 3"));
        for (name, told) in [("a\u{1b}[2J", "a\\u{1b}[2J"), ("a\u{202e}b", "a\\u{202e}b"), ("a\u{200b}", "a\\u{200b}")]
        {
            let request = Registration { actor_name: name.into(), ..registration("x", 9) };
            let refused = registry.register(&request, true).unwrap_err().to_string();
            assert!(refused.contains(told) && refused.contains("that are seen where they stand"), "{refused}");
        }
        // Its name is taken: what is refused comes after it.
        let (harmless, encodings) = ("O'Hara \\ \"Zoë\" 東京-7", vec![Encoding::Bf16]);
        let harmless = Registration { actor_name: harmless.into(), encodings, ..registration("x", 9) };
        let refused = registry.register(&harmless, true).unwrap_err();
        assert!(matches!(refused, RegisterError::Encoding { .. }), "{refused}");
        let catch_only = error(|r| r.environments.retain(|e| e.name == "catch"));
        assert!(catch_only.contains("trains cartpole-v1") && catch_only.contains("offers catch"), "{catch_only}");
        let other_shape = error(|r| r.environments.iter_mut().for_each(|e| e.observations.shape = vec![9]));
        assert!(other_shape.contains("observations f32[4]") && other_shape.contains("observations f32[9]"));
        assert!(error(|r| r.encodings = vec![Encoding::Bf16]).contains("f16-delta or f32, the actor decodes [bf16]"));
        assert!(error(|r| r.actor_name.clear()).contains("name of 0 bytes"));
        assert!(error(|r| r.actor_index = Some(ActorIndex(1))).contains("index 1 is out of bounds: below 1"));
        let only = register(&registry, &registration("a", 1));
        assert!(error(|_| ()).contains("ask again"));
        registry.connect(only.session).unwrap();
        assert!(error(|_| ()).contains("ask again"));
        registry.works(only.session);
        assert!(error(|_| ()).contains("all of its 1 actors"));
    }

    #[test]
    fn weights_go_with_receipts_and_uncompressed_only_where_that_serves_and_is_understood() {
        let delivery = |registry: &Registry, change: fn(&mut Registration), is_near| {
            let mut registration = registration("x", 9);
            change(&mut registration);
            let Delivery { is_stored, with_receipts, .. } = registry.register(&registration, is_near).unwrap().delivery;
            (is_stored, with_receipts)
        };
        let mut registry = registry(None);
        assert_eq!(delivery(&registry, |_| (), true), (true, true));
        assert_eq!(delivery(&registry, |_| (), false), (false, true));
        assert_eq!(delivery(&registry, |r| r.stored_payloads = false, true), (false, true));
        assert_eq!(delivery(&registry, |r| r.weights_in_receipts = false, true), (true, false));
        registry.template.network.hidden = vec![1 << 14];
        assert_eq!(delivery(&registry, |_| (), true), (false, true));
        registry.template.lockstep = Some(Lockstep { actors: 1, trajectories_per_batch: 1 });
        assert_eq!(delivery(&registry, |_| (), true), (false, false));
    }

    #[test]
    fn an_actor_without_the_wanted_encoding_gets_f32() {
        let old = Registration { encodings: vec![Encoding::F32], ..registration("old", 1) };
        assert_eq!(register(&registry(None), &old).encoding, Encoding::F32);
    }
}
