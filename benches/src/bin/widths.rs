//! Trained frames a second of the learner step alone, by width of the network and frames of the batch, on every device
//! present, beside the floor that the device's arithmetic and memory set.
//!
//! A cell is the step as the trainer runs it: pack and upload a batch in host memory, update, read the report back, with
//! the next upload under the device's work; weights are not published. Prints Markdown, writes JSON if asked to.

use anyhow::{Context, ensure};
use clap::Parser;
use impala_benches::device_limits::{DeviceLimits, Floor};
use impala_learner::config::Config;
use impala_learner::config::settings::GivenSettings;
use impala_learner::learn::batch::Batch;
use impala_learner::learn::compute::ComputeDevice;
use impala_learner::learn::made_up::{made_up_batch, made_up_parameters};
use impala_learner::learn::step::LearnerStep;
use impala_policy::activation::Activation;
use impala_policy::network::{NetworkSpec, PolicyHead};
use serde_json::{Value, json};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::{Duration, Instant};

// As in the program that is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Updates before the timed ones, as far as half the time of a cell allows: programs are compiled and tuned in them.
const WARM_UP_UPDATES: usize = 3;
/// Small: the numbers must stay finite on a batch that is repeated.
const LEARNING_RATE: f32 = 1e-6;

/// Measures the learner step by width and batch on every device.
#[derive(Parser)]
struct Args {
    /// Widths of the hidden layers.
    #[arg(long, value_delimiter = ',', default_values_t = [64, 256, 1024, 4096], value_parser = at_least_one)]
    widths: Vec<usize>,

    /// Number of hidden layers.
    #[arg(long, default_value_t = 2)]
    layers: usize,

    /// Frames of a batch, multiples of the unroll length.
    #[arg(long, value_delimiter = ',', default_values_t = [4096, 16384, 65536], value_parser = at_least_one)]
    frames: Vec<usize>,

    /// T: steps of a trajectory.
    #[arg(long, default_value_t = 16, value_parser = at_least_one)]
    unroll_length: usize,

    /// tanh or relu.
    #[arg(long, default_value = "tanh")]
    activation: Activation,

    /// Threads of the CPU backend; 0 takes all cores.
    #[arg(long, default_value_t = 0)]
    threads: usize,

    /// Leave the CPU out.
    #[arg(long)]
    no_cpu: bool,

    /// Take software adapters too.
    #[arg(long)]
    software: bool,

    /// Time that updates are timed for in a cell, seconds; at least one update.
    #[arg(long, default_value_t = 2.0)]
    time: f64,

    /// Longest time for a cell, seconds, with what comes before; a cell whose floor alone is longer is skipped.
    #[arg(long, default_value_t = 20.0)]
    cell_time: f64,

    /// Rows and columns of the product that measures a device's arithmetic; by default 4096, on the CPU 1024.
    #[arg(long)]
    product_size: Option<usize>,

    /// The GPU's arithmetic by its datasheet, f32 TFLOP/s, instead of the measured figure.
    #[arg(long, value_name = "TFLOPS")]
    peak: Option<f64>,

    /// The GPU's memory by its datasheet, GB/s, instead of the measured figure.
    #[arg(long, value_name = "GB/S")]
    bandwidth: Option<f64>,

    /// Also write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A point of the table.
struct Cell {
    width: usize,
    frames: usize,
    floor: Floor,
    measured: Measured,
}

/// What became of a cell.
#[derive(Clone, Copy)]
enum Measured {
    Update {
        seconds: f64,
        /// Updates that were timed.
        updates: usize,
    },
    /// Its floor alone is longer than the time for a cell.
    Skipped,
    /// The device could not do it, for want of memory as a rule; its own message says why.
    Failed,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "choose a whole number from 1 on".into())
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    for frames in &args.frames {
        ensure!(frames % args.unroll_length == 0, "{frames} frames are no multiple of T = {}", args.unroll_length);
    }
    rayon::ThreadPoolBuilder::new().num_threads(args.threads).build_global()?;
    let cpu = (!args.no_cpu).then(ComputeDevice::cpu);
    let gpus = ComputeDevice::gpus().into_iter().filter(|gpu| args.software || !gpu.is_software());
    let mut results = Vec::new();
    for device in cpu.into_iter().chain(gpus) {
        results.push(measure_device(&args, &device)?);
    }
    ensure!(!results.is_empty(), "no device to measure: leave out --no-cpu, or build with --features wgpu");
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&json!({ "unroll_length": args.unroll_length, "devices": results }))?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Measures all cells on one device and prints them as they come.
fn measure_device(args: &Args, device: &ComputeDevice) -> anyhow::Result<Value> {
    let size = args.product_size.unwrap_or(if device.is_cpu() { 1024 } else { 4096 });
    let measured = DeviceLimits::measure(device, size, Duration::from_secs(1));
    let mut limits = measured;
    if !device.is_cpu() {
        limits.flops = args.peak.map_or(limits.flops, |teraflops| teraflops * 1e12);
        limits.bytes = args.bandwidth.map_or(limits.bytes, |gigabytes| gigabytes * 1e9);
    }
    let threads = if device.is_cpu() { format!(", {} threads", rayon::current_num_threads()) } else { String::new() };
    line(&format!(
        "\n{}{threads}: measured {:.3} TFLOP/s in a product of {size} x {size}, {:.1} GB/s in a copy; floors from {:.3} TFLOP/s \
         and {:.1} GB/s\n",
        device.name(),
        measured.flops / 1e12,
        measured.bytes / 1e9,
        limits.flops / 1e12,
        limits.bytes / 1e9,
    ));
    line(
        "| hidden | frames | ms an update | frames/s | TFLOP/s | floor ms: arithmetic | memory | share of the floor |",
    );
    line("|---|---|---|---|---|---|---|---|");
    let mut cells = Vec::new();
    for width in &args.widths {
        for frames in &args.frames {
            let cell = measure_cell(args, device, *width, *frames, limits)?;
            line(&row(&cell));
            cells.push(figures(&cell));
        }
    }
    Ok(json!({
        "device": device.name(),
        "threads": if device.is_cpu() { Some(rayon::current_num_threads()) } else { None },
        "measured_flops": measured.flops,
        "measured_bytes": measured.bytes,
        "floor_flops": limits.flops,
        "floor_bytes": limits.bytes,
        "cells": cells,
    }))
}

fn measure_cell(
    args: &Args,
    device: &ComputeDevice,
    width: usize,
    frames: usize,
    limits: DeviceLimits,
) -> anyhow::Result<Cell> {
    let spec = NetworkSpec {
        observation_len: 4,
        hidden: vec![width; args.layers],
        activation: args.activation,
        head: PolicyHead::single(2),
        normalises: false,
    };
    let floor = Floor::new(&spec, args.unroll_length, frames, limits);
    // Two updates at least.
    if 2.0 * floor.seconds() > args.cell_time {
        return Ok(Cell { width, frames, floor, measured: Measured::Skipped });
    }
    let config = Config::complete(GivenSettings::default(), &impala_env::builtin())?.step();
    let [time, limit] = [args.time, args.cell_time].map(Duration::from_secs_f64);
    let measure = || -> anyhow::Result<Measured> {
        let batch = made_up_batch(&spec, args.unroll_length, frames / args.unroll_length);
        let mut step = LearnerStep::new(&spec, made_up_parameters(&spec), config, device);
        time_updates(&mut step, &batch, time, limit)
    };
    // The backends panic where memory is at its end; the other cells are still worth having.
    let measured = std::panic::catch_unwind(AssertUnwindSafe(measure)).unwrap_or(Ok(Measured::Failed))?;
    Ok(Cell { width, frames, floor, measured })
}

fn time_updates(step: &mut LearnerStep, batch: &Batch, time: Duration, limit: Duration) -> anyhow::Result<Measured> {
    let began = Instant::now();
    for _ in 0..WARM_UP_UPDATES {
        step.run(batch, LEARNING_RATE)?;
        if began.elapsed() > limit / 2 {
            break;
        }
    }
    let mut updates = 0;
    let since = Instant::now();
    while updates == 0 || (since.elapsed() < time && began.elapsed() < limit) {
        step.advance(batch, LEARNING_RATE)?;
        updates += 1;
    }
    step.finish()?;
    Ok(Measured::Update { seconds: since.elapsed().as_secs_f64() / updates as f64, updates })
}

fn row(cell: &Cell) -> String {
    let Cell { width, frames, floor, measured } = cell;
    let floors = format!("{:.3} | {:.3}", 1e3 * floor.arithmetic(), 1e3 * floor.memory());
    match measured {
        Measured::Skipped => format!("| {width} | {frames} | skipped | | | {floors} | |"),
        Measured::Failed => format!("| {width} | {frames} | failed | | | {floors} | |"),
        Measured::Update { seconds, .. } => format!(
            "| {width} | {frames} | {:.3} | {:.0} | {:.3} | {floors} | {:.0} % |",
            1e3 * seconds,
            *frames as f64 / seconds,
            floor.flops / seconds / 1e12,
            100.0 * floor.seconds() / seconds,
        ),
    }
}

fn figures(cell: &Cell) -> Value {
    let (seconds, updates) = match cell.measured {
        Measured::Update { seconds, updates } => (Some(seconds), Some(updates)),
        Measured::Skipped | Measured::Failed => (None, None),
    };
    json!({
        "hidden": cell.width,
        "frames": cell.frames,
        "seconds": seconds,
        "updates": updates,
        "frames_per_second": seconds.map(|seconds| cell.frames as f64 / seconds),
        "failed": matches!(cell.measured, Measured::Failed),
        "flops": cell.floor.flops,
        "bytes": cell.floor.bytes,
        "floor_arithmetic_seconds": cell.floor.arithmetic(),
        "floor_memory_seconds": cell.floor.memory(),
    })
}

#[allow(clippy::print_stdout, reason = "the table is the result")]
fn line(text: &str) {
    println!("{text}");
}
