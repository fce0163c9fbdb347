//! Where the environments of a program that trains or evaluates come from: they are built in, those of gymnasium, or those of a
//! program of one's own, which is then also the actor.

use super::workers::{Trust, WorkerArgs};
use impala_env::spec::EnvironmentName;
use impala_env::{EnvironmentKind, Registry};
use impala_worker::{Activity, Deadlines, Fault, Launch, Program, listed, of_actors};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A program of one's own says so soon what it is. What it loads for its environments has more time.
const HELLO: Duration = Duration::from_secs(20);
/// What a program is that can be named.
const OWN: &str = "its main function must be that of impala-actor's module `program` (docs/how-to/own-environment.md)";

/// Where environments come from that are not built in.
#[derive(Clone, Debug, clap::Args)]
pub struct ElsewhereArgs {
    /// Those of gymnasium.
    #[command(flatten)]
    pub workers: WorkerArgs,

    /// Program of your own whose environments are trained on, e.g. target/release/mine: `train` starts it for each actor, and what a
    /// learner evaluates is played in it. With it there are no other environments; --environment names one of its, and may be left out
    /// where it has one alone. It is named anew whenever a run is resumed or a policy evaluated: no run and no policy names a program
    #[arg(long, value_name = "PROGRAM", env = "IMPALA_ACTOR_PROGRAM", help_heading = "Environments of one's own")]
    pub actor_program: Option<PathBuf>,
}

impl ElsewhereArgs {
    /// All environments that there are: those of the named program alone, or else the ones that are built in and gymnasium's. Nothing is
    /// started before one of them is asked for by its name.
    pub fn registry(&self, builtin: Registry, trust: Trust) -> Registry {
        let Some(program) = self.actor_program.clone() else {
            let (find, known) = (self.workers.find(trust), builtin.clone());
            return builtin.with_elsewhere(move |name| find(name).or_else(|| Some(Err(unknown(&known, name)?))));
        };
        Registry::new().with_elsewhere(move |name| Some(found(&program, name)))
    }

    /// The environment that is meant where none is named: that of the named program.
    ///
    /// # Errors
    /// The program does not tell its environments, or has several.
    pub fn only_environment(&self) -> Result<Option<EnvironmentName>, String> {
        let Some(program) = &self.actor_program else { return Ok(None) };
        let names = listed(program, HELLO).map_err(|fault| sentence(program, fault))?;
        match names.as_slice() {
            [only] => Ok(Some(only.clone())),
            several => {
                let names: Vec<_> = several.iter().map(EnvironmentName::as_str).collect();
                let program = program.display();
                Err(format!(
                    "--actor-program {program} has several environments, name one by --environment: {}",
                    names.join(", ")
                ))
            }
        }
    }

    /// What an actor is told, so that it finds this environment as this process does.
    pub fn for_actor(&self, environment: &EnvironmentName) -> Vec<OsString> {
        match self.actor_program {
            Some(_) => vec!["--environment".into(), environment.as_str().into()],
            None => self.workers.for_actor(environment),
        }
    }
}

/// What is told of a name that nothing here has.
fn unknown(known: &Registry, name: &EnvironmentName) -> Option<String> {
    let error = known.get(name).err()?;
    Some(format!("{error}; for one of a program of your own name that too, by --actor-program"))
}

fn found(program: &Path, name: &EnvironmentName) -> Result<EnvironmentKind, String> {
    let mut launch = Launch::new(Program::new(program, ["--worker"]), name);
    launch.deadlines = Deadlines { hello: HELLO, ..launch.deadlines };
    of_actors(&launch).map_err(|error| sentence(program, error.fault))
}

/// What is wrong with the program, for whoever named it.
fn sentence(program: &Path, fault: Fault) -> String {
    let reason = match fault {
        Fault::Launch { source, .. } => format!("it cannot be started ({source})"),
        Fault::NoWorker { found, .. } | Fault::NoListing { found, .. } => {
            format!("it is none with environments, its standard output began with {found:?}: {OWN}")
        }
        Fault::Died { activity: Activity::Start, status, said } => {
            let said = said.map_or_else(String::new, |line| format!(", the last that it wrote: {line}"));
            format!("it ended with {status} when it was asked for its environments{said}: {OWN}")
        }
        Fault::Silent { activity: Activity::Start, deadline } => {
            format!("it was silent for {} s when it was asked for its environments: {OWN}", deadline.as_secs_f64())
        }
        Fault::Version { theirs, ours } => {
            format!(
                "it speaks version {theirs} of the protocol of workers, this program speaks {ours}: build both of one release"
            )
        }
        fault => fault.to_string(),
    };
    format!("--actor-program {}: {reason}", program.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::process::Command;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        elsewhere: ElsewhereArgs,
    }

    fn named(program: &Path) -> ElsewhereArgs {
        Arguments::parse_from([Path::new("p"), Path::new("--actor-program"), program]).elsewhere
    }

    /// What comes of a program that is this script of the shell.
    fn with_program<T>(script: &str, ask: impl FnOnce(&ElsewhereArgs) -> T) -> T {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("mine");
        // Written by another process: one that another test starts meanwhile would inherit the open file, which then cannot be run.
        let mut write = Command::new("sh");
        write.args(["-c", "printf '#!/bin/sh\n%s\n' \"$1\" >\"$2\"; chmod +x \"$2\"", "sh", script]).arg(&program);
        assert!(write.status().unwrap().success());
        ask(&named(&program))
    }

    /// What is said of a program that does this, when it is asked for an environment and for its only one.
    fn complaints(script: &str) -> [String; 2] {
        with_program(script, |elsewhere| {
            let asked = elsewhere.registry(impala_env::builtin(), Trust::Any).get(&"mine-v0".parse().unwrap());
            [asked.unwrap_err().to_string(), elsewhere.only_environment().unwrap_err()]
        })
    }

    #[test]
    fn what_is_no_program_with_environments_is_told_in_a_sentence() {
        for complaint in complaints("echo usage: mine FILE") {
            let expected = "it is none with environments, its standard output began with \"usage: mine FILE\\n\"";
            assert!(
                complaint.contains(expected) && complaint.contains("impala-actor's module `program`"),
                "{complaint}"
            );
            assert!(complaint.starts_with("--actor-program /"), "{complaint}");
        }
        for complaint in complaints("echo 'what is that?' >&2; exit 2") {
            assert!(complaint.contains("it ended with exit status: 2"), "{complaint}");
            assert!(complaint.contains("the last that it wrote: what is that?"), "{complaint}");
        }
        let nowhere = named(Path::new("/nowhere/mine"));
        let complaint = nowhere.only_environment().unwrap_err();
        assert!(complaint.starts_with("--actor-program /nowhere/mine: it cannot be started ("), "{complaint}");
    }

    #[test]
    fn the_one_environment_of_a_program_is_meant_and_of_several_none() {
        let listing = |names: &str| {
            let lines = names.split(' ').map(|name| format!("echo '{{\"name\": \"{name}\", \"masked\": true}}'\n"));
            with_program(&lines.collect::<String>(), ElsewhereArgs::only_environment)
        };
        assert_eq!(listing("mine-v0"), Ok("mine-v0".parse().ok()));
        assert!(listing("mine-v0 yours-v0").unwrap_err().ends_with("name one by --environment: mine-v0, yours-v0"));
        assert_eq!(Arguments::parse_from(["p"]).elsewhere.only_environment(), Ok(None));
    }

    #[test]
    fn an_actor_of_ones_own_is_told_the_environment_alone() {
        let told = named(Path::new("mine")).for_actor(&"gym:Pendulum-v1".parse().unwrap());
        assert_eq!(told, ["--environment", "gym:Pendulum-v1"].map(OsString::from));
    }

    #[test]
    fn a_name_that_nothing_has_is_told_with_what_there_is_and_where_else_it_may_be() {
        let registry = Arguments::parse_from(["p"]).elsewhere.registry(impala_env::builtin(), Trust::Any);
        let error = registry.get(&"cartpole-v2".parse().unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("unknown environment `cartpole-v2` (did you mean cartpole-v"), "{error}");
        assert!(error.ends_with("for one of a program of your own name that too, by --actor-program"), "{error}");
    }
}
