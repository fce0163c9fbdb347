//! The command line, and the environment variables that stand for flags: who is wrong about a variable is told about the variable.

use super::errors::{self, Level};
use super::logs::LogFormat;
use clap::error::{ContextKind, ContextValue};
use clap::{Command, Error, Parser, ValueEnum};
pub use impala_env::nearest;
use std::ffi::OsString;

/// What every variable of a setting begins with.
const PREFIX: &str = "IMPALA_";
/// The variable of the setting that chooses how lines are written.
const LOG_FORMAT: &str = "IMPALA_LOG_FORMAT";
/// Similarity (Jaro-Winkler, 1 for equal names) from which an unknown variable is taken for a misspelt setting, and not for one
/// that something else reads.
const SIMILAR: f64 = 0.9;

/// The arguments of this process; ends it where they are refused. Warns of variables that look like settings and are none.
pub fn parse<C: Parser>() -> C {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(format) = log_format(&arguments, std::env::var_os(LOG_FORMAT)) {
        errors::speak(format);
    }
    let command = C::command();
    let known = variables(&command);
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for (name, meant) in names.filter_map(|name| misspelt(&name, &known).map(|meant| (name, meant))) {
        errors::tell(Level::Warn, format_args!("{name} is no setting and is ignored; did you mean {meant}?"));
    }
    C::try_parse().unwrap_or_else(|error| {
        let note = origin(&error, &known, &arguments, |name| std::env::var_os(name));
        match errors::is_json() && error.use_stderr() {
            true => errors::tell(Level::Error, error.to_string().trim_start_matches("error: ").trim_end()),
            false => drop(error.print()),
        }
        note.iter().for_each(|note| errors::tell(Level::Info, note));
        std::process::exit(error.exit_code())
    })
}

/// The format of the log as far as flag or variable choose it: also what is wrong with them is told in it.
fn log_format(arguments: &[OsString], variable: Option<OsString>) -> Option<LogFormat> {
    let mut given = variable;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.to_str().and_then(|text| text.strip_prefix("--log-format")) {
            Some("") => given = arguments.next().cloned(),
            Some(rest) => given = rest.strip_prefix('=').map(OsString::from).or(given),
            None => {}
        }
    }
    LogFormat::from_str(given?.to_str()?, true).ok()
}

/// The flags that a variable stands for, with their variables.
fn variables(command: &Command) -> Vec<(String, String)> {
    let own = command
        .get_arguments()
        .filter_map(|argument| Some((argument.get_long()?.to_owned(), argument.get_env()?.to_str()?.to_owned())));
    own.chain(command.get_subcommands().flat_map(variables)).collect()
}

/// The setting that a variable was probably meant to be.
fn misspelt<'a>(name: &str, known: &'a [(String, String)]) -> Option<&'a str> {
    if !name.starts_with(PREFIX) || known.iter().any(|(_, variable)| variable == name) {
        return None;
    }
    let variables = known.iter().filter_map(|(_, variable)| variable.strip_prefix(PREFIX));
    let nearest = nearest(&name[PREFIX.len()..], variables, SIMILAR)?;
    known.iter().map(|(_, variable)| variable.as_str()).find(|variable| variable.strip_prefix(PREFIX) == Some(nearest))
}

/// Says that a refused value came from a variable, if it did.
fn origin(
    error: &Error,
    known: &[(String, String)],
    arguments: &[OsString],
    value: impl Fn(&str) -> Option<OsString>,
) -> Option<String> {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = argument.split_whitespace().next()?;
    let is_given = |given: &OsString| given.to_str().is_some_and(|given| given.split('=').next() == Some(flag));
    if arguments.iter().any(is_given) {
        return None;
    }
    let (_, variable) = known.iter().find(|(long, _)| Some(long.as_str()) == flag.strip_prefix("--"))?;
    let value = value(variable)?;
    Some(match value.is_empty() {
        true => format!("The environment variable {variable} is set and empty: unset it, or give it a value."),
        false => format!("The value is that of the environment variable {variable}: change or unset it."),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[arg(long, env = "IMPALA_SEED")]
        seed: Option<u64>,
        #[arg(long, env = "IMPALA_LEARNING_RATE")]
        learning_rate: Option<f32>,
    }

    fn known() -> Vec<(String, String)> {
        variables(&<Program as clap::CommandFactory>::command())
    }

    #[test]
    fn a_misspelt_setting_is_told_and_what_others_read_is_not() {
        let known = known();
        assert_eq!(misspelt("IMPALA_SEDE", &known), Some("IMPALA_SEED"));
        assert_eq!(misspelt("IMPALA_LEARNINGRATE", &known), Some("IMPALA_LEARNING_RATE"));
        for other in ["IMPALA_SEED", "IMPALA_BUILD_CA", "IMPALA_", "SEDE"] {
            assert_eq!(misspelt(other, &known), None, "{other}");
        }
    }

    #[test]
    fn the_format_of_lines_is_known_before_anything_else_is() {
        let format = |arguments: &[&str], variable: Option<&str>| {
            let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
            log_format(&arguments, variable.map(OsString::from))
        };
        assert_eq!(format(&["impala", "train", "--log-format", "json"], None), Some(LogFormat::Json));
        assert_eq!(format(&["impala", "--log-format=human"], Some("json")), Some(LogFormat::Human));
        assert_eq!(format(&["impala", "--log-formats", "x"], Some("json")), Some(LogFormat::Json));
        for unknown in [format(&["impala"], None), format(&["--log-format"], None), format(&[], Some("xml"))] {
            assert_eq!(unknown, None);
        }
    }

    #[test]
    fn a_refused_value_names_the_variable_that_gave_it() {
        let origin = |arguments: &[&str], variable: &'static str| {
            let given: Vec<_> = ["program", "--seed", variable].map(OsString::from).into();
            let error = Program::try_parse_from(&given).unwrap_err();
            let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
            origin(&error, &known(), &arguments, |name| (name == "IMPALA_SEED").then(|| variable.into()))
        };
        let empty = origin(&["program"], "").unwrap();
        assert!(empty.contains("IMPALA_SEED is set and empty: unset it"), "{empty}");
        assert!(origin(&["program"], "x").unwrap().contains("variable IMPALA_SEED: change"));
        assert_eq!(origin(&["program", "--seed=x"], "x"), None);
    }
}
