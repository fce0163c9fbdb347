//! Asking an actor on this machine for its health, over the port of its metrics.

use anyhow::{Context, bail};
use impala_common::channel::url;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longest time of one question.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest answer, bytes: a status line, a few headers, a sentence.
const ANSWER_LEN_MAX: u64 = 4096;

/// Whether the actor that serves its metrics on `listen` lives; gives a sentence, which also tells what it is about. With
/// `must_be_ready` one that waits for its learner is not healthy.
///
/// # Errors
/// It does not live, or not answer in time, or it is not ready where it must be; the message says which.
pub fn health(listen: SocketAddr, must_be_ready: bool) -> anyhow::Result<String> {
    let address = url::from_here(listen).map_err(anyhow::Error::msg)?;
    let ask = |path| get(address, path).with_context(|| format!("the actor at {address} is not healthy"));
    let (code, sentence) = ask("/livez")?;
    if code != 200 {
        bail!("the actor at {address} is not healthy: {code} {sentence}");
    }
    let (code, sentence) = ask("/readyz")?;
    match code {
        200 => Ok(format!("the actor at {address} is alive and {sentence}")),
        503 if !must_be_ready => Ok(format!("the actor at {address} is alive and {sentence}")),
        _ => bail!("the actor at {address} is not ready: {sentence}"),
    }
}

/// Status code and body of `GET path`.
fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let deadline = Instant::now() + PATIENCE;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).context("cannot connect")?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").context("cannot ask")?;
    let mut answer = Vec::new();
    let mut part = [0; 512];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("no answer within {PATIENCE:?}");
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part).context("no answer")? {
            0 => break,
            len => answer.extend_from_slice(&part[..len]),
        }
        if answer.len() as u64 > ANSWER_LEN_MAX {
            bail!("the answer to {path} is none of an actor: it has more than {ANSWER_LEN_MAX} bytes");
        }
    }
    parse(&String::from_utf8_lossy(&answer)).with_context(|| format!("the answer to {path} is no HTTP"))
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let code = answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some((code, body.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead;
    use std::net::TcpListener;

    /// Answers each connection with the next of `answers`.
    fn server(answers: &'static [&'static str]) -> (SocketAddr, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = move || {
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                let mut lines = std::io::BufReader::new(&stream).lines();
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                (&stream).write_all(answer.as_bytes()).unwrap();
            }
        };
        (address, std::thread::Builder::new().name("server".into()).spawn(serve).unwrap())
    }

    const ALIVE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nalive\n";
    const WAITING: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 24\r\n\r\nwaiting for the learner\n";

    #[test]
    fn an_actor_that_waits_is_alive_but_not_ready() {
        let (address, server) = server(&[ALIVE, WAITING, ALIVE, WAITING]);
        let sentence = health(address, false).unwrap();
        assert_eq!(sentence, format!("the actor at {address} is alive and waiting for the learner"));
        let error = health(address, true).unwrap_err().to_string();
        assert_eq!(error, format!("the actor at {address} is not ready: waiting for the learner"));
        server.join().unwrap();
    }

    #[test]
    fn what_is_no_actor_is_not_healthy() {
        let (address, server) = server(&["SSH-2.0-x\r\n"]);
        assert!(format!("{:#}", health(address, false).unwrap_err()).contains("is no HTTP"));
        server.join().unwrap();
        assert!(format!("{:#}", health(address, false).unwrap_err()).contains("cannot connect"));
        let any_port = "127.0.0.1:0".parse().unwrap();
        assert!(health(any_port, false).unwrap_err().to_string().contains("port 0"));
    }
}
