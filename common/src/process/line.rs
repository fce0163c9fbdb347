//! A line of a log in JSON: what each has, whoever writes it, and which process it is of. [`logs`](super::logs) writes events in this
//! form, [`errors`](super::errors) what is told beside the log. It must not know what the lines tell; docs/how-to/logs.md has the
//! names of all fields, and a test compares them with the code.

use crate::ids::ActorIndex;
use serde::Serialize;
use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::SystemTime;
use tracing::field::{Field, Visit};

/// Of which run and which actor the lines of this process are. Of the process, not of a task: a collector gets what every thread
/// writes, also the last error after everything has ended.
static ORIGIN: Mutex<Origin> = Mutex::new(Origin { run: None, actor: None, index: None });

#[derive(Clone, Debug, Serialize)]
struct Origin {
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
}

impl Origin {
    /// Without what an event tells by itself: a name stands once in a line.
    fn beside(mut self, fields: &Fields) -> Self {
        self.run = self.run.filter(|_| !fields.have("run"));
        self.actor = self.actor.filter(|_| !fields.have("actor"));
        self.index = self.index.filter(|_| !fields.have("index"));
        self
    }
}

/// From now on the lines are of a learner of this run.
pub fn of_run(run: &str) {
    origin().run = Some(run.to_owned());
}

/// From now on the lines are of the actor of this name, which no learner has taken yet.
pub fn of_actor(name: &str) {
    origin().actor = Some(name.to_owned());
}

/// From now on the lines are of an actor at this place of a run; learners of earlier releases do not say which one.
pub fn of_place(run: Option<&str>, index: ActorIndex) {
    let mut origin = origin();
    origin.run = run.map(str::to_owned);
    origin.index = Some(index.0);
}

fn origin() -> MutexGuard<'static, Origin> {
    ORIGIN.lock().expect("no holder of the origin panics")
}

#[derive(Debug, Serialize)]
struct Line<'a, R> {
    timestamp: String,
    level: &'a str,
    message: &'a str,
    #[serde(flatten)]
    origin: Origin,
    #[serde(flatten)]
    rest: R,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
}

/// A line of this level; `rest` gives fields of its own.
pub(super) fn told(level: &str, message: &str, rest: impl Serialize) -> String {
    // A value of its own: what is written may log, too.
    let origin = origin().clone();
    written(&Line { timestamp: now(), level, message, origin, rest, target: None })
}

/// An event as a line.
pub(super) fn event(event: &tracing::Event<'_>) -> String {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let (metadata, message) = (event.metadata(), std::mem::take(&mut fields.message));
    let origin = origin().clone().beside(&fields);
    let (level, target) = (metadata.level().as_str(), Some(metadata.target()));
    written(&Line { timestamp: now(), level, message: &message, origin, rest: &fields, target })
}

fn now() -> String {
    let now = SystemTime::now().max(SystemTime::UNIX_EPOCH);
    humantime::format_rfc3339_micros(now).to_string()
}

fn written(line: &impl Serialize) -> String {
    serde_json::to_string(line).unwrap_or_else(|error| format!("{{\"level\":\"ERROR\",\"message\":\"{error}\"}}"))
}

/// What an event tells, in its order.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, serde_json::Value)>,
}

impl Fields {
    fn have(&self, name: &str) -> bool {
        self.others.iter().any(|(other, _)| *other == name)
    }

    fn add(&mut self, field: &Field, value: impl Into<serde_json::Value>) {
        self.others.push((field.name(), value.into()));
    }
}

impl Serialize for Fields {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.others.iter().map(|(name, value)| (name, value)))
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.add(field, format!("{value:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::logs::{LogFormat, layer};
    use super::*;
    use serde_json::{Value, json};
    use std::io::{Read, Seek};
    use tracing_subscriber::layer::SubscriberExt;

    /// What is logged meanwhile, as a collector reads it, but for the time.
    fn lines(log: impl FnOnce()) -> Vec<Value> {
        let mut file = tempfile::tempfile().unwrap();
        let layer = layer(LogFormat::Json, file.try_clone().unwrap());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        let line = |line: &str| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let timestamp = line.as_object_mut().unwrap().remove("timestamp").unwrap();
            assert!(humantime::parse_rfc3339(timestamp.as_str().unwrap()).is_ok(), "{timestamp}");
            line
        };
        text.lines().map(line).collect()
    }

    /// One test, since the origin is the process's.
    #[test]
    fn every_line_tells_whose_it_is_and_says_nothing_twice() {
        let target = module_path!();
        let read = lines(|| {
            tracing::info!(mean = 1.5, none = f64::NAN, is_one = true, "before {}\n\"a run\"", 7);
            of_actor("actor-1");
            of_place(Some("one"), ActorIndex(3));
            tracing::warn!(lost = 2_u64, reason = %"gone", "after");
            tracing::error!(run = "two", actor = "other", index = 0_u32, "its own");
            of_place(None, ActorIndex(0));
            of_run("three");
            tracing::info!("a learner");
        });
        let first = json!({"level": "INFO", "message": "before 7\n\"a run\"", "mean": 1.5, "none": null, "is_one": true, "target": target});
        let second = json!({"level": "WARN", "message": "after", "run": "one", "actor": "actor-1", "index": 3, "lost": 2, "reason": "gone", "target": target});
        let third = json!({"level": "ERROR", "message": "its own", "run": "two", "actor": "other", "index": 0, "target": target});
        let fourth = json!({"level": "INFO", "message": "a learner", "run": "three", "actor": "actor-1", "index": 0, "target": target});
        assert_eq!(read, [first, second, third, fourth]);
        let told: Value = serde_json::from_str(&told("INFO", "the end", json!({"summary": {"frames": 1}}))).unwrap();
        assert_eq!((&told["run"], &told["summary"]["frames"]), (&json!("three"), &json!(1)));
    }
}
