//! Which environments a registry has, a line of JSON for each, as a worker describes them and with their names.

use crate::message::Described;
use impala_env::Registry;
use std::io::{self, Write};

/// Writes a line for each environment, in the order of registration.
///
/// # Errors
/// They cannot be written.
pub fn list(registry: &Registry, output: &mut impl Write) -> io::Result<()> {
    for kind in registry.kinds() {
        writeln!(output, "{}", serde_json::to_string(&Described::of(kind).with_name(kind))?)?;
    }
    output.flush()
}
