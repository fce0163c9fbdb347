//! Processor time of processes, from `/proc`.

/// Clock ticks in a second, as Linux reports them on every architecture that it has in common use.
const TICKS: f64 = 100.0;

/// Processor time that a process has used, in user and kernel mode, seconds; `None` where the system does not tell.
pub fn seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name stands in brackets and may hold anything; the times are fields 14 and 15.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11).map_while(|field| field.parse::<f64>().ok());
    Some((fields.next()? + fields.next()?) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_no_more_than_it_has() {
        if let Some(seconds) = seconds(std::process::id()) {
            assert!((0.0..1e6).contains(&seconds), "{seconds}");
        }
    }
}
