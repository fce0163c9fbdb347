//! The address of an experiment tracker, as a person writes it. What is sent there, the reports know.

use super::ConfigError;
use super::values::Omissible;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use url::Url;

const NO_ADDRESS: &str = "it is no address of an MLflow server: write http://HOST:PORT or https://HOST";
const NOT_ALONE: &str = "it has a `?` or a `#`: write the address alone, http://HOST:PORT or https://HOST";
const HAS_CREDENTIALS: &str = "leave user and password out of the URL, which is written down: give them in the environment, \
                               as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN";
/// What stands in place of a text that may have credentials in it.
const HIDDEN: &str = "(not shown, for it may have credentials)";

/// URL of an MLflow server; nothing where the text is empty.
///
/// Every text can be read, and what is no such URL is refused afterwards: whoever reads a text repeats what cannot be read, and people write
/// passwords into URLs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct TrackingServer(Address);

#[derive(Clone, PartialEq, Eq)]
enum Address {
    None,
    /// Without credentials.
    Server(Url),
    Refused {
        /// The text, unless it is not to be repeated.
        shown: String,
        requirement: &'static str,
    },
}

impl TrackingServer {
    /// The URL.
    pub fn url(&self) -> Option<&Url> {
        match &self.0 {
            Address::Server(url) => Some(url),
            Address::None | Address::Refused { .. } => None,
        }
    }

    /// Refuses what is no address of a server.
    ///
    /// # Errors
    /// It is none, or has more to it, such as credentials. These are not repeated.
    pub(super) fn validate(&self, key: &'static str) -> Result<(), ConfigError> {
        match &self.0 {
            Address::Refused { shown, requirement } => super::invalid(key, shown, *requirement),
            Address::None | Address::Server(_) => Ok(()),
        }
    }
}

impl Address {
    fn of(text: &str) -> Self {
        if text.is_empty() {
            return Self::None;
        }
        let url = Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
        match url {
            // Wherever it stands: of `http://anna:7/w@tracker`, the host is `anna` and the path `/w@tracker`.
            _ if text.contains('@') => Self::refused(text, HAS_CREDENTIALS),
            None => Self::refused(text, NO_ADDRESS),
            Some(url) if url.query().is_some() || url.fragment().is_some() => Self::refused(text, NOT_ALONE),
            Some(url) => Self::Server(url),
        }
    }

    fn refused(text: &str, requirement: &'static str) -> Self {
        // These leave no room for credentials, also not for encoded ones.
        let is_harmless = |byte: u8| byte.is_ascii_alphanumeric() || b".:/-_[]".contains(&byte);
        let shown = if text.bytes().all(is_harmless) { text } else { HIDDEN };
        Self::Refused { shown: shown.to_owned(), requirement }
    }
}

impl FromStr for TrackingServer {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Address::of(text)))
    }
}

impl From<String> for TrackingServer {
    fn from(text: String) -> Self {
        Self(Address::of(&text))
    }
}

impl From<TrackingServer> for String {
    fn from(server: TrackingServer) -> Self {
        server.to_string()
    }
}

impl fmt::Display for TrackingServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Address::None => Ok(()),
            Address::Server(url) => f.write_str(url.as_str().trim_end_matches('/')),
            Address::Refused { shown, .. } => f.write_str(shown),
        }
    }
}

impl fmt::Debug for TrackingServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrackingServer({self})")
    }
}

impl Omissible for TrackingServer {
    fn is_none(&self) -> bool {
        self.0 == Address::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::settings::GivenSettings;
    use clap::{Args, FromArgMatches};

    fn refusal(server: &TrackingServer) -> String {
        server.validate("mlflow").unwrap_err().to_string()
    }

    #[test]
    fn an_address_is_that_of_a_web_server() {
        let server = |text: &str| text.parse::<TrackingServer>().unwrap();
        for (text, shown) in [
            ("http://tracker:5000/", "http://tracker:5000"),
            ("https://ml.example.org/mlflow", "https://ml.example.org/mlflow"),
            ("http://[::1]:5000", "http://[::1]:5000"),
            ("", ""),
        ] {
            assert!(server(text).validate("mlflow").is_ok(), "{text}");
            assert_eq!(server(text).to_string(), shown);
        }
        for text in ["tracker:5000", "tracker", "file:///srv/runs", "sqlite:///x.db", "http://"] {
            assert_eq!((server(text).url(), server(text).is_none()), (None, false));
            assert_eq!(refusal(&server(text)), format!("mlflow = {text}: {NO_ADDRESS}"));
        }
        for text in ["http://t/?a=1", "http://t/#x"] {
            assert_eq!(refusal(&server(text)), format!("mlflow = {HIDDEN}: {NOT_ALONE}"));
        }
    }

    #[test]
    fn credentials_in_an_address_are_refused_and_not_repeated_however_they_were_given() {
        let by_flag = |text: &str| {
            let command = GivenSettings::augment_args(clap::Command::new("learner"));
            let matches = command.try_get_matches_from(["learner", "--mlflow", text]).unwrap();
            GivenSettings::from_arg_matches(&matches).unwrap()
        };
        let by_file = |text: &str| format!("mlflow = '{text}'").parse::<GivenSettings>().unwrap();
        for text in [
            "https://anna:se-cret@tracker",
            "https://se-cret@tracker",
            "https:anna:se-cret@tracker",
            "anna:se-cret@tracker:5000",
            "https://anna:se-cret@t/?a=1",
            "https://t/?token=se-cret",
            "https://t/#se-cret",
            "https://anna:se/cret@tracker",
            "https://anna:7/se-cret@tracker",
            "https://anna%3Ase-cret%40tracker",
            "anna:se cret",
        ] {
            for given in [by_flag(text), by_file(text)] {
                assert!(!format!("{given:?}").contains("cret"), "{given:?}");
                let refused = Config::complete(given, &impala_env::builtin()).unwrap_err().to_string();
                assert!(refused.starts_with("mlflow = (not shown"), "{refused}");
                assert!(!["anna", "cret", "tracker:5000"].iter().any(|part| refused.contains(part)), "{refused}");
            }
        }
        let refused = refusal(&"anna:se-cret@tracker:5000".parse().unwrap());
        assert!(refused.contains("MLFLOW_TRACKING_TOKEN"), "{refused}");
    }
}
