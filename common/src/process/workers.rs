//! The flags by which a program gets the environments of gymnasium, and how they are handed on to a process that it starts.

use impala_env::spec::EnvironmentName;
use impala_env::{EnvironmentKind, Registry};
use impala_worker::{Launch, Program, kind};
use std::ffi::OsString;
use std::path::PathBuf;

/// How workers for environments of gymnasium (gym:LunarLander-v3) are started.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Environments of gymnasium")]
pub struct WorkerArgs {
    /// Python interpreter whose packages have the environments of gymnasium, e.g. venv/bin/python: it needs impala_gym
    /// (`pip install ./python`). It is started only for an environment that is named gym:..
    #[arg(long, value_name = "PROGRAM", env = "IMPALA_PYTHON", default_value = "python3")]
    pub python: PathBuf,

    /// Processes among which an actor divides its environments of gymnasium
    #[arg(long, value_name = "COUNT", env = "IMPALA_WORKERS", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: u16,
}

/// Whose word is enough for Python to import a module, which runs whatever stands in it.
#[derive(Clone, Debug)]
pub enum Trust {
    /// That of whoever names the environment: settings, and the run that is gone on with.
    Any,
    /// That of the command line alone: a policy that somebody else made names an environment too.
    Named(Option<EnvironmentName>),
}

impl Trust {
    /// Why this environment's module is not imported, if it is not. Names without a module are of packages that are installed.
    fn refusal(&self, name: &EnvironmentName) -> Option<String> {
        let (module, _) = name.in_gymnasium()?.split_once(':')?;
        let Self::Named(named) = self else { return None };
        (named.as_ref() != Some(name)).then(|| {
            format!("{name} imports the Python module {module}: if you trust it, say so by --environment {name}")
        })
    }
}

impl WorkerArgs {
    /// The registry with gymnasium's environments. Python is started when one of them is asked for by its name, never before.
    pub fn registry(&self, registry: Registry, trust: Trust) -> Registry {
        registry.with_elsewhere(self.find(trust))
    }

    /// Finds what is gymnasium's, and nothing else.
    pub(super) fn find(
        &self,
        trust: Trust,
    ) -> impl Fn(&EnvironmentName) -> Option<Result<EnvironmentKind, String>> + Send + Sync + 'static {
        let Self { python, workers } = self.clone();
        move |name| {
            name.in_gymnasium()?;
            if let Some(refusal) = trust.refusal(name) {
                return Some(Err(refusal));
            }
            let launch = Launch { workers: workers.into(), ..Launch::new(Program::python(&python), name) };
            Some(kind(&launch).map_err(|error| error.to_string()))
        }
    }

    /// What a process of the same program is told, so that it finds this environment as this one does.
    pub fn for_actor(&self, environment: &EnvironmentName) -> Vec<OsString> {
        if environment.in_gymnasium().is_none() {
            return Vec::new();
        }
        let workers = self.workers.to_string();
        let flags = [("--environment", environment.as_str().into()), ("--workers", workers.into())];
        let flags = flags.into_iter().chain([("--python", self.python.clone().into_os_string())]);
        flags.flat_map(|(flag, value): (_, OsString)| [flag.into(), value]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        workers: WorkerArgs,
    }

    #[test]
    fn an_actor_is_told_how_to_find_what_is_gymnasiums_and_nothing_else() {
        let given = Arguments::parse_from(["p", "--python", "venv/bin/python", "--workers", "3"]).workers;
        assert!(given.for_actor(&"catch".parse().unwrap()).is_empty());
        let told = given.for_actor(&"gym:Pendulum-v1".parse().unwrap());
        let expected = ["--environment", "gym:Pendulum-v1", "--workers", "3", "--python", "venv/bin/python"];
        assert_eq!(told, expected.map(OsString::from));
    }

    #[test]
    fn a_module_is_imported_only_where_the_command_line_names_it() {
        let own: EnvironmentName = "gym:evil:Env-v0".parse().unwrap();
        let refusal = |trust: Trust, name: &EnvironmentName| trust.refusal(name);
        let refused = refusal(Trust::Named(None), &own).unwrap();
        assert!(refused.contains("module evil") && refused.contains("--environment gym:evil:Env-v0"), "{refused}");
        assert!(refusal(Trust::Named("gym:evil:Env-v1".parse().ok()), &own).is_some());
        assert!(refusal(Trust::Named(Some(own.clone())), &own).is_none() && refusal(Trust::Any, &own).is_none());
        assert!(refusal(Trust::Named(None), &"gym:ALE/Pong-v5".parse().unwrap()).is_none());
    }

    #[test]
    fn an_interpreter_that_is_not_there_is_named_only_when_it_is_needed() {
        let workers = Arguments::parse_from(["p", "--python", "/nowhere/python"]).workers;
        let registry = workers.registry(impala_env::builtin(), Trust::Any);
        registry.get(&"catch".parse().unwrap()).unwrap();
        let error = registry.get(&"gym:CartPole-v1".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("gym:CartPole-v1") && error.contains("/nowhere/python"), "{error}");
        assert!(Arguments::try_parse_from(["p", "--workers", "0"]).is_err());
    }
}
