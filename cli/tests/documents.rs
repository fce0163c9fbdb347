//! The documents say what the code says: the tables of settings and metrics, the README's length, and links and paths that
//! lead somewhere.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use impala_benches::documents;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Longest README, lines: what does not fit is in the manual.
const README_LINES_MAX: usize = 120;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_tables_of_the_manual_are_what_the_code_says() {
    let outdated = documents::outdated(&root()).unwrap();
    if let Some(documents::Outdated { document, difference: (is, should_be), .. }) = outdated.first() {
        panic!("{document} says\n  {is}\nand should say\n  {should_be}\nmend it with: {}", documents::COMMAND);
    }
}

#[test]
fn the_readme_is_short_and_names_the_test_command() {
    let readme = read("README.md");
    let lines = readme.lines().count();
    assert!(lines <= README_LINES_MAX, "{lines} lines: move something to docs/");
    assert!(readme.lines().any(|line| line == "cargo test --release --workspace"), "CI looks for this line");
}

/// Every Markdown file of the project, by its path from there.
fn markdown_files() -> Vec<PathBuf> {
    let (mut found, mut directories) = (Vec::new(), vec![root()]);
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap_or_default();
            if path.is_dir() {
                // Build outputs, runs and what tools hide are not the project's.
                let is_ours =
                    !name.starts_with('.') && !["target", "runs", "venv", "node_modules", "shared"].contains(&name);
                directories.extend(is_ours.then_some(path));
            } else if name.ends_with(".md") {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found
}

/// A document without its code blocks, in which nothing is a link or a heading.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// What the links and pictures of a document point at.
fn links(prose: &str) -> Vec<&str> {
    let in_markdown = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let in_html = ["src=\"", "href=\"", "srcset=\""]
        .into_iter()
        .flat_map(|attribute| prose.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()));
    in_markdown.chain(in_html).collect()
}

/// The names by which headings can be linked: lower case, spaces as hyphens, punctuation left out.
fn anchors(prose: &str) -> BTreeSet<String> {
    let headings = prose.lines().filter_map(|line| line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' '));
    let part = |c: char| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c => c.is_alphanumeric().then(|| c.to_ascii_lowercase()),
    };
    headings.map(|heading| heading.chars().filter_map(part).collect()).collect()
}

#[test]
fn relative_links_lead_to_files_and_headings_that_exist() {
    let (mut broken, mut count) = (Vec::new(), 0);
    for file in markdown_files() {
        let prose = prose(&read(&file));
        for link in links(&prose).into_iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            count += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            let leads_somewhere = root().join(&target).exists()
                && (anchor.is_empty() || anchors(&self::prose(&read(&target))).contains(anchor));
            if !leads_somewhere {
                broken.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(count > 20, "only {count} links were found: the test reads the wrong files");
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn paths_in_backquotes_exist() {
    let (mut missing, mut count) = (Vec::new(), 0);
    for file in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let prose = prose(&read(file));
        let quoted = prose.split('`').skip(1).step_by(2);
        for path in quoted.filter(|text| text.contains("/src/") || text.contains("/tests/")) {
            count += 1;
            if !root().join(path).exists() {
                missing.push(format!("{file}: {path}"));
            }
        }
    }
    assert!(count > 20, "only {count} paths were found: the test reads the wrong files");
    assert!(missing.is_empty(), "paths that do not exist:\n{}", missing.join("\n"));
}

#[test]
fn headings_are_linked_as_github_links_them() {
    let found = anchors("# Docker: images, `compose`\n## What limits a run\ntext # no heading\n");
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), ["docker-images-compose", "what-limits-a-run"]);
    assert_eq!(links("[a](b.md#c) <img src=\"d.svg\">"), ["b.md#c", "d.svg"]);
}
