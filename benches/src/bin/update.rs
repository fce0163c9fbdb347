//! What one update on the CPU is made of: the parts of a block on one core, and what the threads share of the whole.
//!
//! The serial share is what more threads do not shorten: packing the parameters, adding up the gradients of the blocks,
//! clipping and optimiser. Prints Markdown.

use clap::Parser;
use impala_learner::config::Config;
use impala_learner::config::settings::GivenSettings;
use impala_learner::learn::batch::{Batch, Columns};
use impala_learner::learn::compute::ComputeDevice;
use impala_learner::learn::made_up::{made_up_batch, made_up_parameters};
use impala_learner::learn::network::Network;
use impala_learner::learn::objective::{ActionDistribution, ObjectiveMemory};
use impala_learner::learn::perceptron::{Perceptron, PerceptronPass};
use impala_learner::learn::step::{LearnerStep, StepConfig};
use impala_policy::activation::Activation;
use impala_policy::network::{NetworkSpec, PolicyHead};
use std::time::{Duration, Instant};

// As in the program that is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Small: the numbers must stay finite on a batch that is repeated.
const LEARNING_RATE: f32 = 1e-6;
/// Columns of the block whose parts are timed.
const BLOCK_COLUMNS: usize = 16;

/// Measures what one update on the CPU is made of
#[derive(Parser)]
struct Args {
    /// Widths of the two hidden layers.
    #[arg(long, value_delimiter = ',', default_values_t = [64, 128, 256])]
    widths: Vec<usize>,

    /// Batches, steps x columns.
    #[arg(long, value_delimiter = ',', default_values = ["10x8", "20x64", "20x256"], value_parser = shape)]
    batches: Vec<(usize, usize)>,

    /// tanh or relu.
    #[arg(long, default_value = "tanh")]
    activation: Activation,

    /// Threads; 0 takes all cores.
    #[arg(long, default_value_t = 0)]
    threads: usize,

    /// Time for each line, seconds.
    #[arg(long, default_value_t = 2.0)]
    time: f64,
}

fn shape(text: &str) -> Result<(usize, usize), String> {
    let numbers = text.split_once('x').and_then(|(steps, columns)| Some((steps.parse().ok()?, columns.parse().ok()?)));
    numbers.filter(|(steps, columns)| *steps > 0 && *columns > 0).ok_or_else(|| format!("`{text}`: write 20x256"))
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    rayon::ThreadPoolBuilder::new().num_threads(args.threads).build_global()?;
    let config = Config::complete(GivenSettings::default(), &impala_env::builtin())?.step();
    let spec = |width: &usize| NetworkSpec {
        observation_len: 4,
        hidden: vec![*width; 2],
        activation: args.activation,
        head: PolicyHead::single(2),
        normalises: false,
    };
    let limit = Duration::from_secs_f64(args.time);
    line(&format!("One update, {} threads, microseconds\n", rayon::current_num_threads()));
    line("| hidden | batch | update | load | blocks | sum | apply | serial share |");
    line("|---|---|---|---|---|---|---|---|");
    for spec in args.widths.iter().map(spec) {
        for (steps, columns) in &args.batches {
            let batch = made_up_batch(&spec, *steps, *columns);
            line(&update(&spec, config, &batch, limit)?);
        }
    }
    line(&format!("\nA block of {BLOCK_COLUMNS} columns on one core, nanoseconds a frame\n"));
    line("| hidden | gather | forward | objective | backward |");
    line("|---|---|---|---|---|");
    for spec in args.widths.iter().map(spec) {
        line(&block(&spec, config, limit));
    }
    Ok(())
}

/// Whole updates.
fn update(spec: &NetworkSpec, config: StepConfig, batch: &Batch, limit: Duration) -> anyhow::Result<String> {
    let mut step = LearnerStep::new(spec, made_up_parameters(spec), config, &ComputeDevice::cpu());
    for _ in 0..3 {
        step.run(batch, LEARNING_RATE)?;
    }
    let before = step.times().unwrap_or_default();
    let since = Instant::now();
    let mut updates = 0;
    while since.elapsed() < limit {
        step.run(batch, LEARNING_RATE)?;
        updates += 1;
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(updates);
    let all = each(since.elapsed());
    let times = step.times().unwrap_or_default();
    let [load, blocks, sum, apply] = [
        (times.load, before.load),
        (times.blocks, before.blocks),
        (times.sum, before.sum),
        (times.apply, before.apply),
    ]
    .map(|(after, before)| each(after.saturating_sub(before)));
    Ok(format!(
        "| {} | {}x{} | {all:.1} | {load:.1} | {blocks:.1} | {sum:.1} | {apply:.1} | {:.1} % |",
        spec.hidden[0],
        batch.unroll_length(),
        batch.columns(),
        100.0 * (all - blocks) / all,
    ))
}

/// The parts of one block.
fn block(spec: &NetworkSpec, config: StepConfig, limit: Duration) -> String {
    let batch = made_up_batch(spec, 20, BLOCK_COLUMNS);
    let (objective, actions) = (config.objective(), ActionDistribution::of(&spec.head));
    let parameters = made_up_parameters(spec);
    let mut network = Perceptron::new(spec);
    network.load(&parameters);
    let (mut columns, mut pass, mut memory) =
        (Columns::default(), PerceptronPass::default(), ObjectiveMemory::default());
    let (mut outputs, mut output_gradient, mut gradient) = (vec![], vec![], vec![0.0; parameters.len()]);
    let mut times = [Duration::ZERO; 4];
    let (since, mut rounds) = (Instant::now(), 0);
    while since.elapsed() < limit {
        let mut laps = [Instant::now(); 5];
        batch.gather(0..BLOCK_COLUMNS, &mut columns);
        laps[1] = Instant::now();
        network.forward(&columns.observations, &mut pass, &mut outputs);
        laps[2] = Instant::now();
        objective.evaluate(&actions, &columns, &outputs, batch.frames(), &mut memory, &mut output_gradient);
        laps[3] = Instant::now();
        network.backward(&columns.observations, &mut pass, &output_gradient, &mut gradient);
        laps[4] = Instant::now();
        times.iter_mut().zip(laps.windows(2)).for_each(|(time, lap)| *time += lap[1] - lap[0]);
        rounds += 1;
    }
    let frames = f64::from(rounds) * batch.frames() as f64;
    let [gather, forward, objective, backward] = times.map(|time| time.as_secs_f64() * 1e9 / frames);
    format!("| {} | {gather:.1} | {forward:.1} | {objective:.1} | {backward:.1} |", spec.hidden[0])
}

#[allow(clippy::print_stdout, reason = "the table is the result")]
fn line(text: &str) {
    println!("{text}");
}
