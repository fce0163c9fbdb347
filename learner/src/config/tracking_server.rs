//! The address of an experiment tracker, as a person writes it. What is sent there, the reports know.

use super::ConfigError;
use super::values::Omissible;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use url::Url;

/// URL of an MLflow server; nothing where the text is empty.
///
/// Shown, it has no credentials, so that a text that is refused for having some does not give them away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrackingServer(Option<Url>);

impl TrackingServer {
    /// The URL.
    pub fn url(&self) -> Option<&Url> {
        self.0.as_ref()
    }

    /// Refuses credentials. Not a part of reading the text: whoever reads it repeats what is refused.
    ///
    /// # Errors
    /// There are some.
    pub(super) fn validate(&self, key: &'static str) -> Result<(), ConfigError> {
        match self.0.iter().any(|url| !url.username().is_empty() || url.password().is_some()) {
            false => Ok(()),
            true => super::invalid(
                key,
                self,
                "leave user and password out of the URL, which is written down: give them in the environment, as \
                 MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
            ),
        }
    }
}

impl FromStr for TrackingServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let url = Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
        let url = url.ok_or("it is no address of an MLflow server: write http://HOST:PORT or https://HOST")?;
        match url.query().is_some() || url.fragment().is_some() {
            true => Err("it has a `?` or a `#`: write the address alone, http://HOST:PORT".into()),
            false => Ok(Self(Some(url))),
        }
    }
}

impl TryFrom<String> for TrackingServer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TrackingServer> for String {
    fn from(server: TrackingServer) -> Self {
        server.to_string()
    }
}

impl fmt::Display for TrackingServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(mut url) = self.0.clone() else { return Ok(()) };
        // Where there is a host, both can be taken away.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        f.write_str(url.as_str().trim_end_matches('/'))
    }
}

impl Omissible for TrackingServer {
    fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_that_of_a_web_server() {
        let shown = |text: &str| text.parse::<TrackingServer>().map(|server| server.to_string());
        assert_eq!(shown("http://tracker:5000/").unwrap(), "http://tracker:5000");
        assert_eq!(shown("https://ml.example.org/mlflow").unwrap(), "https://ml.example.org/mlflow");
        assert_eq!(shown("").unwrap(), "");
        for text in
            ["tracker:5000", "tracker", "file:///tmp/runs", "sqlite:///x.db", "http://", "http://t/?a=1", "http://t/#x"]
        {
            assert!(shown(text).unwrap_err().contains("http://HOST:PORT"), "{text}");
        }
    }

    #[test]
    fn credentials_in_an_address_are_refused_and_not_repeated() {
        let server: TrackingServer = "https://anna:se-cret@tracker".parse().unwrap();
        let refused = server.validate("mlflow").unwrap_err().to_string();
        assert!(
            refused.starts_with("mlflow = https://tracker: ") && refused.contains("MLFLOW_TRACKING_TOKEN"),
            "{refused}"
        );
        assert!(!format!("{refused}{server}").contains("cret") && !refused.contains("anna"), "{refused}");
        let token: TrackingServer = "https://token@tracker".parse().unwrap();
        assert!(token.validate("mlflow").is_err());
        assert!("https://tracker".parse::<TrackingServer>().unwrap().validate("mlflow").is_ok());
    }
}
