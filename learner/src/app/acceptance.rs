//! `--accept-spec`: the time before a learner comes up, in which it waits for an actor that tells the shape of its environment.

use super::cannot_listen;
use crate::service::first_actor::{self, Told};
use anyhow::Context;
use impala_common::process::errors::{self, Level};
use impala_common::process::signals;
use impala_env::spec::EnvironmentName;
use std::net::{SocketAddr, TcpListener};
use tokio::runtime;

/// The learner's address, where it is waited: whoever finds the listener finds the learner there later.
pub(super) fn listen(name: &EnvironmentName, listen: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(listen).with_context(|| cannot_listen(listen))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    errors::tell(Level::Info, format_args!("waiting at {address} for the first actor that has {name} (--accept-spec)"));
    Ok(listener)
}

/// Waits there for the next actor that has the environment.
pub(super) fn wait_for(name: &EnvironmentName, listener: &TcpListener) -> anyhow::Result<Told> {
    let waiting = listener.try_clone()?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let told = runtime.block_on(async {
        let stop = signals::on_signal()?;
        let waiting = first_actor::wait_for(name, tokio::net::TcpListener::from_std(waiting)?);
        let told = stop.run_until_cancelled(waiting).await;
        told.with_context(|| format!("stopped before an actor came that has {name}"))?
    });
    runtime.shutdown_background();
    told
}

/// What was taken, in a line.
pub(super) fn note(told: &Told) -> String {
    format!("the actor `{}` told the shape of the environment: {}", told.actor, told.spec)
}
