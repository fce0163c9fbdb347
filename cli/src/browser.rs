//! Pages are opened in the person's browser, where there is one.

use impala_common::channel::url;
use impala_learner::report::sinks::console;
use std::net::SocketAddr;

/// Opens the page at this address of this machine, and says so where no browser can be started: whatever the page shows goes on.
pub(crate) fn open(address: SocketAddr) {
    let page = format!("http://{}/", url::from_here(address).unwrap_or(address));
    if let Err(error) = open::that_detached(&page) {
        console::note(&format!("no browser could be started ({error}): open {page} by hand"));
    }
}
