//! Every setting of the learner, declared once: key, type, default, help. From this table come the command line flags, the
//! environment variables, the keys of the TOML file and the resolved configuration.

use crate::config::store_location::StoreLocation;
use crate::learn::compute::DeviceChoice;
use crate::learn::optim::OptimiserName;
use crate::learn::step::Correction;
use clap::builder::BoolishValueParser;
use impala_common::snapshot::Encoding;
use impala_common::telemetry::LogFormat;
use impala_env::spec::EnvironmentName;
use impala_policy::activation::Activation;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

macro_rules! settings {
    ($( $heading:literal { $( $(#[clap($($clap:tt)*)])? $key:ident: $type:ty = $default:expr, $text:literal, $env:literal, $help:literal; )* } )*) => {
        /// The settings that a person gave, by flag, environment variable or file; the others are absent.
        #[derive(Clone, Debug, Default, PartialEq, clap::Args, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct GivenSettings {
            $($(
                #[doc = $help]
                #[arg(
                    long,
                    env = $env,
                    hide_env_values = true,
                    help = concat!($help, " [default: ", $text, "]"),
                    help_heading = $heading,
                    $($($clap)*)?
                )]
                pub $key: Option<$type>,
            )*)*
        }

        /// All settings of a run.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        pub struct Settings {
            $($(
                #[doc = concat!($help, " Default: ", $text, ".")]
                pub $key: $type,
            )*)*
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($( $key: $default, )*)* }
            }
        }

        impl GivenSettings {
            /// Fills the gaps of `self` from `fallback`.
            pub fn or(self, fallback: Self) -> Self {
                Self { $($( $key: self.$key.or(fallback.$key), )*)* }
            }

            /// Fills the gaps from the defaults.
            pub fn or_default(self) -> Settings {
                let default = Settings::default();
                Settings { $($( $key: self.$key.unwrap_or(default.$key), )*)* }
            }
        }

        /// Key, environment variable and default (as help texts show it) of every setting.
        pub const TABLE: &[(&str, &str, &str)] = &[ $($( (stringify!($key), $env, $text), )*)* ];
    };
}

settings! {
    "Task" {
        environment: EnvironmentName = EnvironmentName::CartPoleV1, "cartpole-v1", "IMPALA_ENVIRONMENT",
            "What to learn: cartpole-v1 (500 steps), cartpole-v0 (200 steps) or catch.";
        seed: u64 = 1, "1", "IMPALA_SEED",
            "Seeds every random draw of learner and actors.";
        #[clap(num_args = 0..=1, default_missing_value = "true", value_parser = BoolishValueParser::new())]
        deterministic: bool = false, "false", "IMPALA_DETERMINISTIC",
            "Learner and actors in lockstep: two runs with the same seed end with bit-identical parameters. Slower.";
        actors: u32 = 2, "2 (`train` picks unless --deterministic)", "IMPALA_ACTORS",
            "Actor processes. `train` starts them; a deterministic learner waits for exactly so many; others take any number.";
        frames_max: u64 = 2_000_000, "2000000", "IMPALA_FRAMES_MAX",
            "Budget, environment frames trained: the run ends unsolved (or after --frames-after-solved) when it is used up.";
        time_max: Seconds = Seconds(600.0), "600 (10m)", "IMPALA_TIME_MAX",
            "Budget, wall time: seconds, or with a unit as in 90s, 10m, 2h.";
        solved_return: f64 = f64::NAN, "the environment's: cartpole-v1 475, cartpole-v0 195, catch 0.95", "IMPALA_SOLVED_RETURN",
            "Mean return over the last 100 training episodes from which the task counts as solved.";
        frames_after_solved: u64 = 0, "0", "IMPALA_FRAMES_AFTER_SOLVED",
            "Frames to train on after solving; the summary tells the worst 100-episode mean in them.";
        #[clap(num_args = 0..=1, default_missing_value = "true", value_parser = BoolishValueParser::new())]
        keep_serving: bool = false, "false", "IMPALA_KEEP_SERVING",
            "A learner whose training is over goes on serving its final model until a signal, and tells actors to wait instead of ending.";
    }
    "Data" {
        environments_per_actor: usize = 8, "8", "IMPALA_ENVIRONMENTS_PER_ACTOR",
            "N: environments that each actor steps at once.";
        unroll_length: usize = 10, "10", "IMPALA_UNROLL_LENGTH",
            "T: steps in one trajectory (the paper uses 20 to 100).";
        batch_size: usize = 8, "8", "IMPALA_BATCH_SIZE",
            "B: environment columns in one update, a multiple of --environments-per-actor; an update trains T x B frames.";
        in_flight_max: usize = 1, "1", "IMPALA_IN_FLIGHT_MAX",
            "Trajectories that an actor may have on their way to the trainer, 1 to 64. More hide latency and raise policy lag.";
        policy_lag_max: u64 = 100, "100", "IMPALA_POLICY_LAG_MAX",
            "Updates by which the policy of a trajectory may be behind when its batch is filled; older ones are refused and counted.";
    }
    "Network" {
        hidden: Hidden = Hidden(vec![64, 64]), "64,64", "IMPALA_HIDDEN",
            "Widths of the hidden layers, separated by commas.";
        activation: Activation = Activation::Tanh, "tanh", "IMPALA_ACTIVATION",
            "tanh or relu. tanh needs about half the frames on CartPole.";
        device: DeviceChoice = DeviceChoice::Auto, "auto", "IMPALA_DEVICE",
            "Where the learner computes: auto (a GPU where there is one and it is faster for this network and batch), cpu, wgpu, or wgpu:N for the N-th discrete GPU, from 0.";
        learner_threads: usize = 0, "0 (one per core; `train` picks)", "IMPALA_LEARNER_THREADS",
            "Threads of the CPU backend, 0 for one per core. Small batches are computed on one whatever the number.";
    }
    "Loss (V-trace: Espeholt et al. 2018)" {
        discount: f32 = 0.99, "0.99", "IMPALA_DISCOUNT",
            "Discount factor, 0 to 1.";
        lambda: f32 = 1.0, "1", "IMPALA_LAMBDA",
            "Factor on the traces, 0 to 1.";
        rho_bar: f32 = 1.0, "1", "IMPALA_RHO_BAR",
            "Bound of the importance ratios of the temporal differences.";
        c_bar: f32 = 1.0, "1", "IMPALA_C_BAR",
            "Bound of the importance ratios of the traces, at most rho_bar.";
        pg_rho_bar: f32 = 1.0, "1", "IMPALA_PG_RHO_BAR",
            "Bound of the importance ratio of the policy gradient.";
        baseline_cost: f32 = 0.5, "0.5", "IMPALA_BASELINE_COST",
            "Weight of the value's squared error.";
        entropy_cost: f32 = 0.001, "0.001", "IMPALA_ENTROPY_COST",
            "Weight of the entropy bonus.";
        reward_scale: f32 = 0.1, "0.1", "IMPALA_REWARD_SCALE",
            "Factor on rewards in the loss; reported returns are unscaled.";
        reward_clip: f32 = 0.0, "0 (off)", "IMPALA_REWARD_CLIP",
            "Scaled rewards are clipped to plus or minus this; 0 is off.";
        #[clap(value_enum)]
        correction: Correction = Correction::Vtrace, "vtrace", "IMPALA_CORRECTION",
            "Off-policy correction; none is for the paper's ablation.";
    }
    "Optimiser" {
        #[clap(value_enum)]
        optimiser: OptimiserName = OptimiserName::RmsProp, "rmsprop", "IMPALA_OPTIMISER",
            "Update rule.";
        learning_rate: f32 = 2e-3, "0.002", "IMPALA_LEARNING_RATE",
            "Learning rate at the start.";
        learning_rate_end: f32 = f32::NAN, "the start's: no decay", "IMPALA_LEARNING_RATE_END",
            "Learning rate at --frames-max; in between it falls linearly with the frames trained.";
        rmsprop_decay: f32 = 0.99, "0.99", "IMPALA_RMSPROP_DECAY",
            "RMSProp's decay of the running mean of squares.";
        rmsprop_momentum: f32 = 0.0, "0", "IMPALA_RMSPROP_MOMENTUM",
            "RMSProp's momentum.";
        adam_beta1: f32 = 0.9, "0.9", "IMPALA_ADAM_BETA1",
            "Adam's decay of the first moment.";
        adam_beta2: f32 = 0.999, "0.999", "IMPALA_ADAM_BETA2",
            "Adam's decay of the second moment.";
        epsilon: f32 = 1e-5, "0.00001", "IMPALA_EPSILON",
            "The optimiser's epsilon: inside the root for rmsprop, beside it for rmsprop-torch and adam.";
        gradient_norm_max: f32 = 0.5, "0.5", "IMPALA_GRADIENT_NORM_MAX",
            "Global norm to which gradients are clipped.";
    }
    "Checkpoints" {
        checkpoint_every: u64 = 1000, "1000", "IMPALA_CHECKPOINT_EVERY",
            "Updates between two checkpoints; 0 for none but the last, which is written when the run ends or is asked to stop.";
        checkpoints_kept: usize = 3, "3", "IMPALA_CHECKPOINTS_KEPT",
            "Newest checkpoints to keep, besides the one with the best mean return.";
        checkpoint_store: StoreLocation = StoreLocation::default(), "checkpoints/ in the run's directory", "IMPALA_CHECKPOINT_STORE",
            "Where checkpoints go: a directory, or file://, s3://BUCKET/PREFIX, gs:// or az:// with the provider's own environment variables. One for each run: a learner that finds checkpoints there continues them.";
    }
    "Network and output" {
        #[clap(value_parser = socket_address)]
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 50051)), "127.0.0.1:50051", "IMPALA_LISTEN",
            "Address of the gRPC service; port 0 takes a free one.";
        #[clap(value_parser = socket_address)]
        metrics_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 0)), "127.0.0.1:0", "IMPALA_METRICS_LISTEN",
            "Address of the Prometheus endpoint GET /metrics; port 0 takes a free one, which the log names.";
        weights_encoding: Encoding = Encoding::F16Delta, "f16-delta", "IMPALA_WEIGHTS_ENCODING",
            "How weights are sent: f32, f16, bf16, or with -delta for the difference to what the actor holds.";
        publish_every: u64 = 1, "1", "IMPALA_PUBLISH_EVERY",
            "Updates between two published versions of the weights.";
        report_interval: Seconds = Seconds(0.2), "0.2", "IMPALA_REPORT_INTERVAL",
            "Seconds between two rows of metrics.csv and two refreshes of the progress line.";
        run_dir: PathBuf = PathBuf::new(), "a new one below runs-dir", "IMPALA_RUN_DIR",
            "The run's own directory. One that holds a checkpoint is continued, under its settings where none are given.";
        runs_dir: PathBuf = PathBuf::from("runs"), "runs", "IMPALA_RUNS_DIR",
            "Directory that takes the run's own directory, where --run-dir names none.";
        #[clap(value_enum)]
        log_format: LogFormat = LogFormat::Human, "human", "IMPALA_LOG_FORMAT",
            "Log lines for people or as JSON.";
    }
}

/// An address to listen on.
fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "not an address to listen on: write IP:PORT, e.g. 127.0.0.1:50051 or 0.0.0.0:50051".into())
}

/// Widths of the hidden layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub Vec<usize>);

impl std::str::FromStr for Hidden {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let width = |part: &str| part.trim().parse().map_err(|_| format!("`{part}` is not a width; write e.g. 64,64"));
        text.split(',').map(width).collect::<Result<_, _>>().map(Self)
    }
}

/// A time in seconds; read from a plain number or from text with units (`90s`, `10m`, `1h 30m`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "GivenSeconds")]
pub struct Seconds(pub f64);

/// What stands in a file.
#[derive(Deserialize)]
#[serde(untagged)]
enum GivenSeconds {
    Number(f64),
    Text(String),
}

impl TryFrom<GivenSeconds> for Seconds {
    type Error = String;

    fn try_from(given: GivenSeconds) -> Result<Self, String> {
        match given {
            GivenSeconds::Number(seconds) => Ok(Self(seconds)),
            GivenSeconds::Text(text) => text.parse(),
        }
    }
}

impl std::str::FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(seconds) = text.parse() {
            return Ok(Self(seconds));
        }
        let duration =
            humantime::parse_duration(text).map_err(|e| format!("{e}; write seconds, or e.g. 90s, 10m, 2h"))?;
        Ok(Self(duration.as_secs_f64()))
    }
}
