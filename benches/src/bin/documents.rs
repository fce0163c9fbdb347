//! Writes the tables of settings and metrics into the manual, or says where they differ.

use anyhow::Context;
use clap::Parser;
use impala_benches::{documents, line, note};
use std::path::Path;
use std::process::ExitCode;

/// Writes the tables of settings and metrics in docs/ anew from the code.
#[derive(Parser)]
struct Args {
    /// Change nothing; exit with 1 if a table is not what the code says.
    #[arg(long)]
    check: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let outdated = documents::outdated(&root)?;
    for documents::Outdated { document, text, difference: (is, should_be) } in &outdated {
        if args.check {
            note(&format!("{document} is outdated: it says\n  {is}\nand should say\n  {should_be}"));
        } else {
            std::fs::write(root.join(document), text).with_context(|| format!("cannot write {document}"))?;
            line(&format!("{document} is written anew"));
        }
    }
    if args.check && !outdated.is_empty() {
        note(&format!("mend it with: {}", documents::COMMAND));
        return Ok(ExitCode::FAILURE);
    }
    if outdated.is_empty() {
        line("every table is what the code says");
    }
    Ok(ExitCode::SUCCESS)
}
