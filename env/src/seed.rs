//! Random sources. Every one is seeded from the run's seed and a purpose, so that no two share draws and a run can be
//! repeated.

/// The draws that a source gives, so that who implements an environment needs no version of `rand`.
pub use rand::RngExt;
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

/// The generator of this project: portable, so that a seed means the same on every machine.
pub type Rng = Xoshiro256PlusPlus;

/// What a random source is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Initial parameters of the network.
    Initialisation,
    /// Resets of one environment of one actor.
    Environment {
        /// Index of the actor.
        actor: u32,
        /// Index of the environment in the actor.
        environment: u32,
    },
    /// Actions of one actor.
    Policy {
        /// Index of the actor.
        actor: u32,
    },
    /// Episodes of the evaluation of a policy by itself.
    Evaluation {
        /// Index of the environment.
        environment: u32,
    },
    /// Episodes by which a run verifies that its policy has reached the goal.
    Verification {
        /// Number of the try in the run, from 1.
        attempt: u32,
        /// Index of the environment in the try.
        environment: u32,
    },
    /// Episodes of an evaluation beside the training.
    SideEvaluation {
        /// Number of the evaluation in the run, from 1.
        number: u32,
        /// Index of the environment in it.
        environment: u32,
    },
    /// Actions of a policy in an evaluation beside the training that draws them.
    SidePolicy {
        /// Number of the evaluation in the run, from 1.
        number: u32,
        /// Index of the first environment that it acts in.
        environment: u32,
    },
    /// Actions of an evaluated policy that draws them.
    EvaluatedPolicy {
        /// Number of the try; 0 for an evaluation by itself.
        attempt: u32,
        /// Index of the first environment that it acts in.
        environment: u32,
    },
}

/// The random source for `purpose` in the run with `run_seed`.
pub fn rng(run_seed: u64, purpose: Purpose) -> Rng {
    let (kind, a, b) = match purpose {
        Purpose::Initialisation => (1, 0, 0),
        Purpose::Environment { actor, environment } => (2, actor, environment),
        Purpose::Policy { actor } => (3, actor, 0),
        Purpose::Evaluation { environment } => (4, environment, 0),
        Purpose::Verification { attempt, environment } => (5, attempt, environment),
        Purpose::EvaluatedPolicy { attempt, environment } => (6, attempt, environment),
        Purpose::SideEvaluation { number, environment } => (7, number, environment),
        Purpose::SidePolicy { number, environment } => (8, number, environment),
    };
    // The 256-bit seed holds every part in a place of its own: distinct purposes cannot meet.
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&mix(run_seed).to_le_bytes());
    seed[8..16].copy_from_slice(&mix(run_seed ^ mix(kind)).to_le_bytes());
    seed[16..24].copy_from_slice(&mix(run_seed ^ mix(kind << 32 | u64::from(a))).to_le_bytes());
    seed[24..].copy_from_slice(&mix(mix(kind << 32 | u64::from(a)) ^ u64::from(b)).to_le_bytes());
    Rng::from_seed(seed)
}

/// The seed of the `number`th actor, from 1, that came after another one in the run with `run_seed`.
pub fn later(run_seed: u64, number: u64) -> u64 {
    mix(run_seed ^ mix(number).rotate_left(32))
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection that spreads close numbers apart.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purpose_and_seed_draws_differently_and_repeatably() {
        let mut firsts = std::collections::HashSet::new();
        for seed in 0..10 {
            let mut purposes = vec![Purpose::Initialisation];
            for actor in 0..4 {
                purposes.push(Purpose::Policy { actor });
                purposes.push(Purpose::Evaluation { environment: actor });
                for environment in 0..4 {
                    purposes.push(Purpose::Environment { actor, environment });
                    purposes.push(Purpose::Verification { attempt: actor, environment });
                    purposes.push(Purpose::EvaluatedPolicy { attempt: actor, environment });
                }
            }
            for purpose in purposes {
                let first: u64 = rng(seed, purpose).random();
                assert_eq!(first, rng(seed, purpose).random::<u64>());
                assert!(firsts.insert(first), "{purpose:?} of seed {seed} repeats another source");
            }
        }
    }
}
