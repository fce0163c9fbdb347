//! What is written, read back.

use super::messages::{Event, FILE_VERSION, hparams::PluginData};
use super::*;
use crate::config::settings::GivenSettings;
use crate::learn::histogram::Counts;
use crate::report::doctor::Circumstances;
use crate::report::shares::Shares;
use crate::report::summary::RunEnd;
use prost::Message;
use std::collections::BTreeSet;
use tempfile::TempDir;

struct Bench {
    directory: TempDir,
    tensorboard: TensorBoard,
    trainer: Inspection,
}

impl Bench {
    fn begin(progress: &Progress) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::complete(GivenSettings::default(), &impala_env::builtin()).unwrap();
        let trainer = Inspection::default();
        let tensorboard =
            TensorBoard::create(directory.path(), progress, &Preface::new(&config), trainer.clone()).unwrap();
        Self { directory, tensorboard, trainer }
    }

    fn events(&self) -> Vec<Event> {
        let entry = std::fs::read_dir(self.directory.path()).unwrap().next().unwrap().unwrap();
        let bytes = std::fs::read(entry.path()).unwrap();
        let records = records::read(&bytes).expect("every record is sound");
        records.into_iter().map(|record| Event::decode(record).unwrap()).collect()
    }
}

/// A run that has taken so long and come so far.
fn progress(seconds: f64, frames: u64) -> Progress {
    let mut saved = Progress::new(475.0).save_with_policy().0;
    (saved.seconds, saved.frames) = (seconds, frames);
    Progress::new(475.0).resume(saved, None)
}

fn row(frames: u64) -> Row {
    Row { frames, ..Row::default() }
}

fn values(event: &Event) -> &[Value] {
    match &event.what {
        Some(What::Summary(summary)) => &summary.values,
        _ => &[],
    }
}

fn tags(event: &Event) -> BTreeSet<&str> {
    values(event).iter().map(|value| &value.tag[..]).collect()
}

#[test]
fn a_file_says_what_it_is_where_it_begins_and_what_the_settings_are() {
    let events = Bench::begin(&progress(0.0, 4_800)).events();
    assert_eq!(events[0].what, Some(What::FileVersion(FILE_VERSION.into())));
    let start = What::SessionLog(SessionLog { status: SessionStatus::Start.into() });
    assert_eq!((events[1].step, &events[1].what), (4_800, &Some(start)));
    let expected = ["config", "_hparams_/experiment", "_hparams_/session_start_info"];
    assert_eq!(tags(&events[2]), BTreeSet::from(expected));
    let Some(Content::Tensor(text)) = &values(&events[2])[0].content else { panic!("the configuration is no text") };
    let text = String::from_utf8(text.strings[0].clone()).unwrap();
    assert!(
        text.contains("\n    learning_rate = 0.002\n") && text.lines().all(|line| line.starts_with("    ")),
        "{text}"
    );
    assert_eq!(events.len(), 3);
}

#[test]
fn a_row_has_every_tag_and_the_first_of_each_says_what_it_means() {
    let mut bench = Bench::begin(&progress(0.0, 0));
    let progress = progress(0.0, 80);
    // Without what is not known yet.
    bench.tensorboard.append(&row(80), &progress, false).unwrap();
    let all = Row {
        mean_return: Some(20.0),
        mean_length_steps: Some(20.0),
        verification_mean_return: Some(f64::NAN),
        actors_blocked: Some(0.5),
        machine_busy: Some(0.5),
        evaluation_frames: Some(80),
        evaluation_mean_return: Some(20.0),
        explained_variance: Some(0.5),
        has_update: true,
        ..row(160)
    };
    bench.tensorboard.append(&all, &progress, false).unwrap();
    let events = bench.events();
    let [first, second] = &events[3..] else { panic!("{} events", events.len()) };
    assert_eq!((first.step, second.step), (80, 160));
    assert!(!tags(first).contains("return/mean") && !tags(first).contains("loss/total"));
    assert_eq!(tags(second), ROWS.iter().map(|scalar| scalar.tag.name).collect());
    assert!(values(first).iter().all(|value| value.metadata.is_some()));
    for value in values(second) {
        assert_eq!(value.metadata.is_some(), !tags(first).contains(&value.tag[..]), "{}", value.tag);
    }
    let mean = values(second).iter().find(|value| value.tag == "return/mean").unwrap();
    assert_eq!(mean.content, Some(Content::Scalar(20.0)));
}

#[test]
fn long_runs_have_fewer_rows_but_always_the_last() {
    let day = progress(86_400.0, 80);
    let mut bench = Bench::begin(&day);
    for frames in [80, 160, 240] {
        bench.tensorboard.append(&row(frames), &day, false).unwrap();
    }
    bench.tensorboard.append(&row(320), &day, true).unwrap();
    assert_eq!(bench.events()[3..].iter().map(|event| event.step).collect::<Vec<_>>(), [80, 320]);
}

#[test]
fn a_look_at_the_network_is_asked_for_and_written_where_it_belongs() {
    let mut bench = Bench::begin(&progress(0.0, 0));
    let progress = progress(0.0, 80);
    bench.tensorboard.append(&row(80), &progress, false).unwrap();
    assert!(bench.trainer.is_asked());
    let histogram = |numbers: &[f32]| {
        let mut counts = Counts::new(3);
        counts.add(numbers.iter().copied());
        counts.take()
    };
    let block = |numbers: &[f32]| vec![("torso.0.weight".to_owned(), histogram(numbers).unwrap())];
    let mut lag = LagHistogram::default();
    lag.record(3);
    bench.trainer.leave(Look {
        frames: 120,
        lag,
        returns: histogram(&[9.0, 500.0]),
        parameters: block(&[0.5, f32::INFINITY, -0.25]),
        gradient: block(&[1e-3, f32::NAN]),
        took: Duration::from_secs(1),
    });
    bench.tensorboard.append(&row(160), &progress, false).unwrap();
    let events = bench.events();
    assert_eq!(events[3..].iter().map(|event| event.step).collect::<Vec<_>>(), [80, 120, 160]);
    let expected = ["return/episodes", "lag/updates", "parameters/torso.0.weight", "gradient/torso.0.weight"];
    assert_eq!(tags(&events[4]), BTreeSet::from(expected));
    for value in values(&events[4]) {
        let Some(Content::Histogram(histogram)) = &value.content else { panic!("{} is no histogram", value.tag) };
        let numbers = if value.tag.starts_with("gradient") || value.tag.starts_with("lag") { 1.0 } else { 2.0 };
        assert_eq!((histogram.num, histogram.bucket.iter().sum()), (numbers, numbers), "{}", value.tag);
        assert_eq!(histogram.bucket.len(), histogram.bucket_limit.len());
        assert!(histogram.min < histogram.max && histogram.sum.is_finite() && histogram.sum_squares.is_finite());
    }
    // It took the trainer a second: the next is not asked for soon.
    assert!(!bench.tensorboard.looks.is_due(progress.elapsed() + Duration::from_secs(400)));
    assert!(bench.tensorboard.looks.is_due(progress.elapsed() + Duration::from_secs(600)));
}

#[test]
fn the_results_of_a_run_stand_at_its_end() {
    let mut bench = Bench::begin(&progress(0.0, 0));
    let results = |end| {
        let (shares, circumstances) = (Shares::default(), Circumstances::default());
        Summary::new(end, &progress(3.0, 2_000), Default::default(), shares, &circumstances)
    };
    bench.tensorboard.conclude(&results(RunEnd::Interrupted)).unwrap();
    bench.tensorboard.conclude(&results(RunEnd::FramesBudget)).unwrap();
    let events = bench.events();
    assert_eq!((events[3].step, tags(&events[3])), (2_000, BTreeSet::from(["result/seconds"])));
    assert_eq!(tags(&events[4]), BTreeSet::from(["result/seconds", "_hparams_/session_end_info"]));
    let end = values(&events[4]).last().unwrap().metadata.as_ref().unwrap().plugin.as_ref().unwrap();
    assert!(PluginData::decode(&end.content[..]).unwrap().data.is_some());
}
