//! `impala view`: runs in a browser, those that are over and those under way.

use crate::browser;
use anyhow::Context;
use impala_learner::report::sinks::console;
use impala_learner::run::archive::{self, CurveRow};
use impala_web::archive::{Archive, router};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Points of a curve that a page is given: what a screen shows.
const POINTS_MAX: usize = 1000;

/// Where to look, and where to serve it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ViewArgs {
    /// Directory that holds the runs' directories
    #[arg(default_value = "runs")]
    directory: PathBuf,

    /// Address of the page; port 0 takes a free one. Whoever reaches it can read the runs
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Open the page in a browser
    #[arg(long)]
    open: bool,
}

/// Serves until Ctrl-C.
///
/// # Errors
/// The directory cannot be read, or the address is taken.
pub(crate) fn run(args: &ViewArgs) -> anyhow::Result<()> {
    let directory = args.directory.display();
    archive::runs_in(&args.directory).with_context(|| {
        format!("cannot read {directory}; name the directory that holds the runs (--runs-dir of train)")
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(args.listen).await;
        let listener = listener.with_context(|| {
            format!("cannot listen on {}: choose another --listen (port 0 takes a free one)", args.listen)
        })?;
        let address = listener.local_addr()?;
        console::note(&format!("runs in {directory} at http://{address}/ (Ctrl-C ends it)"));
        if args.open {
            browser::open(address);
        }
        let archive = Arc::new(Directory(args.directory.clone()));
        axum::serve(listener, router(archive, address.ip())).await.context("the page cannot be served any more")
    })
}

/// The runs in a directory.
struct Directory(PathBuf);

impl Archive for Directory {
    fn runs(&self) -> Result<Value, String> {
        let runs = archive::runs_in(&self.0).map_err(|error| format!("cannot read {}: {error}", self.0.display()))?;
        Ok(json!(runs))
    }

    fn run(&self, name: &str) -> Option<Value> {
        let run = archive::run_named(&self.0, name)?;
        let rows = archive::rows_of(&run.path).unwrap_or_default();
        // From the end, so that the newest is among them.
        let mut rows: Vec<&CurveRow> = rows.iter().rev().step_by(rows.len().div_ceil(POINTS_MAX).max(1)).collect();
        rows.reverse();
        let curve = |of: fn(&CurveRow) -> Option<f64>| rows.iter().map(|row| of(row)).collect::<Vec<_>>();
        Some(json!({
            "frames": curve(|row| Some(row.frames as f64)),
            "seconds": curve(|row| Some(row.seconds)),
            "mean_return": curve(|row| row.mean_return),
            "solved_return": run.solved_return,
            "summary": archive::text_of(&run.path, "summary.txt"),
            "settings": archive::text_of(&run.path, "config.toml"),
        }))
    }
}
