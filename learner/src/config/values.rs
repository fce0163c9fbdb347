//! Types of settings that the rest of the learner has no use for, and what sections ask of any type.

use impala_store::{StoreLocation, refuse_home};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Widths of the hidden layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub Vec<usize>);

impl FromStr for Hidden {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let width = |part: &str| part.trim().parse().map_err(|_| format!("`{part}` is not a width; write e.g. 64,64"));
        text.split(',').map(width).collect::<Result<_, _>>().map(Self)
    }
}

/// A path that can be written down: in a configuration, which is text, it could not be told apart otherwise.
/// Nor is a URL one, or nothing.
pub(super) fn text_path(text: &str) -> Result<PathBuf, String> {
    refuse_home(text).map_err(|error| error.to_string())?;
    let is_url = text.contains("://") || text.parse::<StoreLocation>().is_err();
    match text {
        "" => Err("it is empty; leave it out, or name a directory".into()),
        _ if is_url => {
            Err("it must be a directory of this machine; checkpoints go elsewhere by --checkpoint-store".into())
        }
        text => Ok(text.into()),
    }
}

/// A time in seconds; read from a plain number or from text with units (`90s`, `10m`, `1h 30m`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "GivenSeconds")]
pub struct Seconds(pub f64);

impl Seconds {
    /// The time.
    ///
    /// # Panics
    /// If it is negative or not finite, which the bounds of the settings exclude.
    pub fn duration(self) -> Duration {
        Duration::from_secs_f64(self.0)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A time as it may stand in a file.
#[derive(Deserialize)]
#[serde(untagged)]
enum GivenSeconds {
    Number(f64),
    Text(String),
}

impl TryFrom<GivenSeconds> for Seconds {
    type Error = String;

    fn try_from(given: GivenSeconds) -> Result<Self, String> {
        match given {
            GivenSeconds::Number(seconds) => Ok(Self(seconds)),
            GivenSeconds::Text(text) => text.parse(),
        }
    }
}

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(seconds) = text.parse() {
            return Ok(Self(seconds));
        }
        let duration =
            humantime::parse_duration(text).map_err(|e| format!("{e}; write seconds, or e.g. 90s, 10m, 2h"))?;
        Ok(Self(duration.as_secs_f64()))
    }
}

/// An address to listen on, from the command line.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "not an address to listen on: write IP:PORT, e.g. 127.0.0.1:50051 or 0.0.0.0:50051".into())
}

/// A setting whose value has bounds.
pub(super) trait Number: Copy + fmt::Display {
    /// The value, to compare it with bounds.
    fn real(self) -> f64;
}

macro_rules! numbers {
    ($($type:ty: |$value:ident| $real:expr;)*) => {
        $(impl Number for $type {
            fn real(self) -> f64 {
                let $value = self;
                $real
            }
        })*
    };
}

numbers! {
    u32: |value| value.into();
    u64: |value| value as f64;
    usize: |value| value as f64;
    f32: |value| value.into();
    f64: |value| value;
    Seconds: |value| value.0;
}

/// A setting that can be left out altogether. Earlier releases wrote an empty text or NaN for that.
pub(super) trait Omissible {
    /// Whether the value stands for none.
    fn is_none(&self) -> bool;
}

impl Omissible for PathBuf {
    fn is_none(&self) -> bool {
        self.as_os_str().is_empty()
    }
}

impl Omissible for String {
    fn is_none(&self) -> bool {
        self.is_empty()
    }
}

impl Omissible for StoreLocation {
    fn is_none(&self) -> bool {
        self.is_empty()
    }
}

impl Omissible for Seconds {
    fn is_none(&self) -> bool {
        self.0.is_nan()
    }
}

impl Omissible for bool {
    fn is_none(&self) -> bool {
        false
    }
}

impl Omissible for usize {
    fn is_none(&self) -> bool {
        false
    }
}

impl Omissible for u64 {
    fn is_none(&self) -> bool {
        *self == 0
    }
}

impl Omissible for f32 {
    fn is_none(&self) -> bool {
        self.is_nan()
    }
}

impl Omissible for f64 {
    fn is_none(&self) -> bool {
        self.is_nan()
    }
}
