//! The files in `k8s/`, read as text and as documents, with those of `docker/` that belong to them; and rules about them, which hold and
//! which can be broken.

use anyhow::{Context, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What a rule says of the manifests.
pub(crate) type Rule = fn(&Tree) -> anyhow::Result<()>;

/// A change that must break a rule: file, what stands there, what shall stand there.
pub(crate) type Change = (&'static str, &'static str, &'static str);

/// Every file of YAML or JSON below `k8s/` by its path from there, and below `docker/` by its path from the project.
#[derive(Clone)]
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
}

/// The project's directory.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the project").to_owned()
}

/// Checks that a rule holds, and that each of the changes breaks it.
pub(crate) fn holds(rule: Rule, breaking_changes: &[Change]) {
    let tree = Tree::read();
    if let Err(error) = rule(&tree) {
        panic!("{error:#}");
    }
    for change @ (file, from, to) in breaking_changes {
        let mut changed = tree.clone();
        let text = changed.files.get_mut(*file).unwrap_or_else(|| panic!("there is no {file}"));
        assert!(text.contains(from), "{file} has no `{from}` any more: find another change that breaks the rule");
        *text = text.replacen(from, to, 1);
        assert!(rule(&changed).is_err(), "the rule holds in spite of {change:?}");
    }
}

impl Tree {
    /// All of them.
    pub(crate) fn read() -> Self {
        let mut files = BTreeMap::new();
        let mut directories = vec![root().join("k8s"), root().join("docker")];
        while let Some(next) = directories.pop() {
            for entry in std::fs::read_dir(&next).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
                let name = name.strip_prefix("k8s/").unwrap_or(name).to_owned();
                let is_ours = |extension: &OsStr| ["yml", "yaml", "json"].iter().any(|ours| extension == *ours);
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(is_ours) {
                    files.insert(name, std::fs::read_to_string(&path).unwrap());
                }
            }
        }
        Self { files }
    }

    /// Names of the files in a directory below `k8s/`.
    pub(crate) fn names<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = &'a str> {
        self.files.keys().map(String::as_str).filter(move |name| name.starts_with(directory))
    }

    /// The text of a file.
    pub(crate) fn text(&self, file: &str) -> anyhow::Result<&str> {
        self.files.get(file).map(String::as_str).with_context(|| format!("there is no {file}"))
    }

    /// The documents of a file.
    pub(crate) fn documents(&self, file: &str) -> anyhow::Result<Vec<Value>> {
        serde_saphyr::from_multiple(self.text(file)?).with_context(|| format!("{file} cannot be read"))
    }

    /// The files that `base/kustomization.yaml` names, in its order.
    pub(crate) fn base_files(&self) -> anyhow::Result<Vec<String>> {
        let kustomization = self.documents("base/kustomization.yaml")?;
        let names = kustomization.first().map(|document| strings(&document["resources"])).unwrap_or_default();
        Ok(names.iter().map(|name| format!("base/{name}")).collect())
    }

    /// Every object of the base.
    pub(crate) fn base(&self) -> anyhow::Result<Vec<Value>> {
        let mut objects = Vec::new();
        for file in self.base_files()? {
            objects.extend(self.documents(&file)?);
        }
        Ok(objects)
    }

    /// Every custom resource of the components.
    pub(crate) fn custom_resources(&self) -> anyhow::Result<Vec<Value>> {
        let mut objects = Vec::new();
        for file in self.names("components/").filter(|file| file.ends_with(".yml") && !file.ends_with(".test.yml")) {
            objects.extend(self.documents(file)?.into_iter().filter(|document| {
                let version = document["apiVersion"].as_str().unwrap_or_default();
                version.starts_with("keda.sh/") || version.starts_with("monitoring.coreos.com/")
            }));
        }
        Ok(objects)
    }

    /// One object of the base.
    pub(crate) fn object(&self, kind: &str, name: &str) -> anyhow::Result<Value> {
        let found = self.base()?.into_iter().find(|object| is(object, kind, name));
        found.with_context(|| format!("there is no {kind} {name}"))
    }
}

/// Whether an object has this kind and name.
pub(crate) fn is(object: &Value, kind: &str, name: &str) -> bool {
    object["kind"] == kind && object["metadata"]["name"] == name
}

/// Kind and name, for messages.
pub(crate) fn name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// The elements of a list; none of what is absent.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The texts of a list.
pub(crate) fn strings(value: &Value) -> Vec<String> {
    list(value).iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// The element of a list with this name.
pub(crate) fn named<'a>(items: &'a Value, name: &str) -> anyhow::Result<&'a Value> {
    list(items).iter().find(|item| item["name"] == name).with_context(|| format!("nothing is named {name}"))
}

/// The one container of a workload's pods.
pub(crate) fn container(workload: &Value) -> anyhow::Result<&Value> {
    let containers = list(&workload["spec"]["template"]["spec"]["containers"]);
    ensure!(containers.len() == 1, "{} must have one container", name(workload));
    Ok(&containers[0])
}

/// The number of a container's port, given by number or name.
pub(crate) fn port_number(container: &Value, port: &Value) -> anyhow::Result<u64> {
    let of_name = |name| anyhow::Ok(named(&container["ports"], name)?["containerPort"].as_u64());
    let number = match port.as_str() {
        Some(name) => of_name(name)?,
        None => port.as_u64(),
    };
    number.with_context(|| format!("{port} is no port of the container"))
}
