//! The tables of settings, from the command line that the programs themselves parse: what `--help` says is what stands in the
//! manual.

use super::markdown;
use clap::builder::PossibleValue;
use clap::{Arg, Args, Command};
use impala_actor::cli::ActorArgs;
use impala_learner::cli::LearnerArgs;
use impala_learner::config::setting::Bounds;
use impala_learner::config::settings;
use std::fmt::Write;

/// What the manual tells of one flag.
struct Setting {
    /// The flag without its dashes.
    name: String,
    /// The environment variable, of those that have one.
    variable: Option<String>,
    /// What holds where nobody gives it.
    default: Option<String>,
    /// The sentence of the help text, with the names that it may have.
    meaning: String,
    /// The section of a setting; a flag that is no setting has none.
    section: Option<String>,
}

/// Every setting of the learner, a table for each section.
pub(super) fn of_the_learner() -> String {
    let settings = flags::<LearnerArgs>();
    let mut sections: Vec<&str> = settings.iter().filter_map(|setting| setting.section.as_deref()).collect();
    sections.dedup();
    let mut text = String::new();
    for section in sections {
        let settings = settings.iter().filter(|setting| setting.section.as_deref() == Some(section));
        let row = |s: &Setting| {
            [quoted(&s.name), s.default.clone().unwrap_or_default(), accepted(&s.name), s.meaning.clone()]
        };
        let table = markdown(["setting", "default", "accepted", "meaning"], settings.map(row));
        let _ = writeln!(text, "### {section}\n\n{table}");
    }
    text.trim_end().to_owned() + "\n"
}

/// The flags of `train` and `learner` that are no settings.
pub(super) fn flags_of_the_learner() -> String {
    let flags = flags::<LearnerArgs>();
    table_of_flags(flags.iter().filter(|flag| flag.section.is_none()))
}

/// Everything that an actor can be told.
pub(super) fn of_an_actor() -> String {
    table_of_flags(flags::<ActorArgs>().iter())
}

/// The bounds of a setting that is a number; other types say in their help what they accept.
fn accepted(name: &str) -> String {
    let declared = settings::all().find(|setting| setting.key == name.replace('-', "_"));
    match declared.map(|setting| setting.bounds) {
        None | Some(Bounds::Any) => String::new(),
        Some(bounds) => bounds.to_string(),
    }
}

fn table_of_flags<'a>(flags: impl Iterator<Item = &'a Setting>) -> String {
    let row = |flag: &Setting| {
        let variable = flag.variable.as_deref().map(quoted).unwrap_or_default();
        [quoted(format!("--{}", flag.name)), variable, flag.default.clone().unwrap_or_default(), flag.meaning.clone()]
    };
    markdown(["flag", "variable", "default", "meaning"], flags.map(row))
}

/// The flags that a program shows, in its order.
fn flags<A: Args>() -> Vec<Setting> {
    let command = A::augment_args(Command::new("impala"));
    command.get_arguments().filter(|flag| !flag.is_hide_set()).filter_map(setting).collect()
}

/// What the command line knows of a flag.
fn setting(flag: &Arg) -> Option<Setting> {
    let name = flag.get_long()?.to_owned();
    let help = flag.get_long_help().or(flag.get_help()).map(ToString::to_string).unwrap_or_default();
    let (sentence, shown_default) = split_default(&help);
    let own_default = flag.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
    let variable = flag.get_env().map(|variable| variable.to_string_lossy().into_owned());
    let meaning = with_names(&with_quoted_flags(sentence), flag);
    let section = flag.get_help_heading().map(str::to_owned);
    Some(Setting { name, variable, default: shown_default.map(with_quoted_flags).or(own_default), meaning, section })
}

/// A help text without the default at its end, and that default.
fn split_default(help: &str) -> (&str, Option<&str>) {
    match help.trim().strip_suffix(']').and_then(|help| help.rsplit_once(" [default: ")) {
        Some((sentence, default)) => (sentence, Some(default)),
        None => (help.trim(), None),
    }
}

/// A sentence in which each flag stands in backquotes.
fn with_quoted_flags(sentence: &str) -> String {
    let word = |word: &str| {
        let flag = word.trim_end_matches(|c: char| !c.is_alphanumeric());
        match flag.starts_with("--") {
            true => format!("`{flag}`{}", &word[flag.len()..]),
            false => word.to_owned(),
        }
    };
    sentence.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// A sentence, and after it the names that may be chosen, as far as they explain themselves.
fn with_names(sentence: &str, flag: &Arg) -> String {
    let values = flag.get_possible_values();
    let explained: Vec<_> = values.iter().filter(|value| value.get_help().is_some()).collect();
    if explained.is_empty() {
        return sentence.to_owned();
    }
    let names: Vec<_> = explained.iter().map(|value| explained_name(value)).collect();
    format!("{}. {}.", sentence.trim_end_matches('.'), names.join("; "))
}

/// A name that may be chosen, with what its help adds to it.
fn explained_name(value: &PossibleValue) -> String {
    let (name, help) = (value.get_name(), value.get_help().map(ToString::to_string).unwrap_or_default());
    let help = help.trim_end_matches('.');
    let repeats = help.split_at_checked(name.len()).filter(|(start, _)| start.eq_ignore_ascii_case(name));
    let help = match repeats {
        Some((_, rest)) if rest.is_empty() || rest.starts_with(':') => rest.trim_start_matches([':', ' ']),
        _ => help,
    };
    match help {
        "" => format!("`{name}`"),
        help => format!("`{name}`: {}", within_a_sentence(help)),
    }
}

/// A sentence as it stands inside another: a capital stays only where more than the first letter is one.
fn within_a_sentence(sentence: &str) -> String {
    let mut letters = sentence.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(sentence.chars().skip(1)).collect()
        }
        _ => sentence.to_owned(),
    }
}

fn quoted(name: impl AsRef<str>) -> String {
    format!("`{}`", name.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_help_text_is_split_into_sentence_and_default() {
        assert_eq!(split_default("Weight of the bonus. [default: 0.001]"), ("Weight of the bonus.", Some("0.001")));
        assert_eq!(split_default("Weight of the bonus."), ("Weight of the bonus.", None));
    }

    #[test]
    fn flags_in_a_sentence_are_quoted() {
        let sentence = "A multiple of --environments-per-actor; at --frames-max.";
        assert_eq!(with_quoted_flags(sentence), "A multiple of `--environments-per-actor`; at `--frames-max`.");
    }

    #[test]
    fn a_name_is_not_explained_by_itself() {
        let name = |name, help| explained_name(&PossibleValue::new(name).help(help));
        assert_eq!(name("adam", "Adam."), "`adam`");
        assert_eq!(name("rmsprop", "RMSProp as in TensorFlow."), "`rmsprop`: RMSProp as in TensorFlow");
        assert_eq!(name("none", "None: every ratio counts as 1."), "`none`: every ratio counts as 1");
        assert_eq!(name("json", "One JSON object a line."), "`json`: one JSON object a line");
        assert_eq!(name("vtrace", "V-trace."), "`vtrace`: V-trace");
    }

    #[test]
    fn the_tables_hold_settings_flags_and_chosen_names() {
        let settings = of_the_learner();
        assert!(
            settings.contains("| `batch-size` | follows the actors; 8 with `--deterministic` | a number from 1 to 16777216 | B: environment columns"),
            "{settings}"
        );
        assert!(settings.contains("`rmsprop-torch`: RMSProp as in PyTorch"), "{settings}");
        assert!(!settings.contains("`resume`"), "{settings}");
        assert!(flags_of_the_learner().contains("| `--resume` | `IMPALA_RESUME` |"));
        let actor = of_an_actor();
        assert!(actor.contains("| `--learner` | `IMPALA_LEARNER` | http://127.0.0.1:50051 |"), "{actor}");
        assert!(!actor.contains("exit-with-parent"), "{actor}");
    }
}
