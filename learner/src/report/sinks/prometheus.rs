//! The metrics that mirror the run's own counters. Names and help stand in `handover::metrics`; the exporter is the program's.

use crate::handover::admission::PolicyLagGate;
use crate::handover::ledger::Disposition;
use crate::report::View;
use crate::report::doctor::Limit;
use crate::report::gpus::Reading;
use crate::report::sinks::mlflow::account::Delivered;
use metrics::{counter, gauge};
use std::time::Instant;

/// Brings them up to date; called once a report interval.
pub fn report(view: &View<'_>, gate: &PolicyLagGate) {
    let View { progress, account, .. } = view;
    counter!("impala_learner_frames_total").absolute(progress.frames);
    counter!("impala_learner_updates_total").absolute(progress.updates);
    counter!("impala_learner_episodes_total").absolute(progress.episodes);
    counter!("impala_learner_trajectories_produced_total").absolute(account.produced);
    let dispositions = Disposition::ALL.map(|d| (d.name(), account.of(d)));
    for (name, count) in dispositions.into_iter().chain([("lost", account.lost)]) {
        counter!("impala_learner_trajectories_total", "disposition" => name).absolute(count);
    }
    let now = Instant::now();
    gauge!("impala_learner_busy_seconds").set(progress.clock.busy(now).as_secs_f64());
    gauge!("impala_learner_waiting_seconds").set(progress.clock.waiting(now).as_secs_f64());
    gauge!("impala_learner_machine_busy_ratio").set(view.shares.machine_busy.unwrap_or(f64::NAN));
    gauge!("impala_learner_actors_acting_seconds").set(progress.actors.unroll.as_secs_f64());
    for (what, time) in [("room", progress.actors.room), ("weights", progress.actors.weights)] {
        gauge!("impala_learner_actors_blocked_seconds", "what" => what).set(time.as_secs_f64());
    }
    for limit in Limit::ALL {
        let is_it = f64::from(u8::from(limit == view.diagnosis.limit));
        gauge!("impala_learner_limited_by", "limit" => limit.name()).set(is_it);
    }
    gauge!("impala_learner_actors_enough").set(view.diagnosis.actors_enough.map_or(f64::NAN, |enough| enough as f64));
    let losses = progress.last_step.losses;
    for (term, value) in [("total", losses.total), ("policy", losses.policy), ("baseline", losses.baseline)] {
        gauge!("impala_learner_loss", "term" => term).set(value);
    }
    gauge!("impala_learner_frames_per_second").set(view.frames_per_second);
    gauge!("impala_learner_entropy_nats").set(losses.entropy);
    gauge!("impala_learner_gradient_norm").set(progress.last_step.gradient_norm);
    let vitals = progress.vitals;
    gauge!("impala_learner_update_norm").set(vitals.update_norm);
    gauge!("impala_learner_effective_samples_ratio").set(vitals.effective_samples);
    gauge!("impala_learner_approximate_kl_nats").set(vitals.approximate_kl);
    gauge!("impala_learner_value_error").set(vitals.values.error());
    gauge!("impala_learner_explained_variance_ratio").set(vitals.values.explained_variance().unwrap_or(f64::NAN));
    gauge!("impala_learner_batch_columns").set(vitals.batch_columns);
    gauge!("impala_learner_gradient_noise_columns").set(vitals.noise_scale().unwrap_or(f64::NAN));
    gauge!("impala_learner_clipped_ratio").set(vitals.clipped);
    gauge!("impala_learner_actor_policy_lag_max_updates").set(view.laggards.lag_max());
    gauge!("impala_learner_learning_rate").set(progress.learning_rate);
    gauge!("impala_learner_queue_depth_trajectories").set(account.in_flight() as f64);
    gauge!("impala_learner_weights_version").set(gate.current().0 as f64);
    gauge!("impala_learner_actors_connected").set(view.actors_connected as f64);
    gauge!("impala_learner_goal_return").set(progress.solved_return());
    counter!("impala_learner_verifications_total").absolute(progress.tries.count.into());
    gauge!("impala_learner_verification_mean_return").set(progress.tries.last.map_or(f64::NAN, |score| score.mean));
    counter!("impala_learner_evaluations_total").absolute(progress.evaluations.count.into());
    let evaluated = progress.evaluations.last.map_or(f64::NAN, |last| last.score.mean);
    gauge!("impala_learner_evaluation_mean_return").set(evaluated);
    if let Some(mean) = progress.mean_return() {
        gauge!("impala_learner_mean_return").set(mean);
    }
}

/// Takes a reading of a GPU over; what it does not tell any more is NaN.
pub fn report_gpu(index: u32, reading: Reading) {
    let set = |name: &'static str, value: Option<f64>| {
        gauge!(name, "gpu" => index.to_string()).set(value.unwrap_or(f64::NAN));
    };
    set("impala_learner_gpu_utilisation_ratio", reading.utilisation);
    set("impala_learner_gpu_memory_used_bytes", reading.memory.map(|(used, _)| used as f64));
    set("impala_learner_gpu_memory_total_bytes", reading.memory.map(|(_, total)| total as f64));
    set("impala_learner_gpu_power_watts", reading.power);
}

/// Brings up to date what an MLflow server got; zeros where there is none.
pub fn report_tracker(delivered: &Delivered) {
    let Delivered { rows_sent, rows_lost, files_sent, files_lost, requests_failed, .. } = delivered;
    for (result, rows, files) in [("sent", *rows_sent, files_sent.len()), ("lost", *rows_lost, files_lost.len())] {
        counter!("impala_learner_mlflow_rows_total", "result" => result).absolute(rows);
        counter!("impala_learner_mlflow_files_total", "result" => result).absolute(files as u64);
    }
    counter!("impala_learner_mlflow_requests_failed_total").absolute(*requests_failed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::metrics::GPU_TABLE;
    use metrics_exporter_prometheus::PrometheusBuilder;

    #[test]
    fn a_reading_of_a_gpu_sets_every_metric_of_gpus() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let reading = Reading { utilisation: Some(0.5), memory: Some((3, 4)), power: None };
        metrics::with_local_recorder(&recorder, || report_gpu(1, reading));
        let text = recorder.handle().render();
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(&format!("{name}{{gpu=\"1\"}} ")));
        let values: Vec<_> = GPU_TABLE.iter().map(|metric| value(metric.name)).collect();
        assert_eq!(values, [Some("0.5"), Some("3"), Some("4"), Some("NaN")], "{text}");
    }
}
