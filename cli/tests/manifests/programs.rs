//! What the programs themselves say: their settings by environment variable, read as the programs read them.

use crate::tree::{Tree, container, list, named};
use anyhow::{Context, bail, ensure};
use clap::{Args, Command, FromArgMatches};
use impala_actor::cli::ActorArgs;
use impala_learner::cli::LearnerArgs;
use impala_learner::config::Config;
use serde_json::Value;

/// The settings that a container's environment variables give, by the program's own parser.
fn parse<T: Args + FromArgMatches>(container: &Value) -> anyhow::Result<T> {
    let command = T::augment_args(Command::new("program"));
    let mut arguments = vec!["program".to_owned()];
    for variable in list(&container["env"]) {
        let name = variable["name"].as_str().context("a variable has no name")?;
        if !name.starts_with("IMPALA_") {
            continue;
        }
        let setting = command.get_arguments().find(|argument| argument.get_env().is_some_and(|env| env == name));
        let flag = setting.and_then(|argument| argument.get_long()).with_context(|| format!("no setting is {name}"))?;
        match (variable["value"].as_str(), variable["valueFrom"].is_object()) {
            (Some(value), false) => arguments.push(format!("--{flag}={value}")),
            (None, true) => arguments.push(format!("--{flag}=a-value-of-the-cluster")),
            _ => bail!("{name} needs a text or a source"),
        }
    }
    // What this process has in its environment must not count.
    let matches = command.mut_args(|argument| argument.env(None)).try_get_matches_from(arguments)?;
    Ok(T::from_arg_matches(&matches)?)
}

/// The actor's settings.
pub(crate) fn actor(container: &Value) -> anyhow::Result<ActorArgs> {
    parse(container)
}

/// The learner's settings together with the mounted file, complete and checked, as the learner resolves them.
pub(crate) fn learner(tree: &Tree, workload: &Value) -> anyhow::Result<Config> {
    let container = container(workload)?;
    let args = parse::<LearnerArgs>(container)?;
    let path = args.config.context("IMPALA_CONFIG is not given")?;
    let toml = mounted_file(tree, workload, path.to_str().context("a path in UTF-8")?)?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("impala.toml");
    std::fs::write(&file, toml)?;
    Ok(Config::resolve(args.settings, Some(&file), &impala_env::builtin())?)
}

/// What a pod reads at a path below the mount of a ConfigMap.
pub(crate) fn mounted_file(tree: &Tree, workload: &Value, path: &str) -> anyhow::Result<String> {
    let pod = &workload["spec"]["template"]["spec"];
    let mounts = list(&container(workload)?["volumeMounts"]);
    let below = |mount: &Value| Some(path.strip_prefix(mount["mountPath"].as_str()?)?.strip_prefix('/')?.to_owned());
    let (mount, key) = mounts
        .iter()
        .find_map(|mount| Some((mount, below(mount)?)))
        .with_context(|| format!("nothing is mounted at {path}"))?;
    let volume = named(&pod["volumes"], mount["name"].as_str().unwrap_or_default())?;
    let map = volume["configMap"]["name"].as_str().context("the volume is no ConfigMap")?;
    let map = tree.object("ConfigMap", map)?;
    let text = map["data"][&key].as_str().with_context(|| format!("the ConfigMap has no key {key}"))?;
    ensure!(mount["readOnly"] == true, "the mount of the configuration can be written");
    Ok(text.to_owned())
}
