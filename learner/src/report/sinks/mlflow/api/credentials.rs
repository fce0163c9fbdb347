//! Who asks the server: by the environment variables that MLflow's own clients read, and never shown.

use reqwest::RequestBuilder;
use std::fmt;

/// Sent with every request.
#[derive(Clone, Default)]
pub(crate) enum Credentials {
    #[default]
    None,
    Basic {
        user: String,
        password: String,
    },
    Bearer(String),
}

impl Credentials {
    /// Of this process: user and password, or else a token.
    pub(crate) fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var(format!("MLFLOW_TRACKING_{name}")).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        match (given("USERNAME"), given("PASSWORD"), given("TOKEN")) {
            (Some(user), Some(password), _) => Self::Basic { user, password },
            (_, _, Some(token)) => Self::Bearer(token),
            _ => Self::None,
        }
    }

    /// The request with them; reqwest marks the header as one that is not to be shown.
    pub(super) fn sign(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::None => request,
            Self::Basic { user, password } => request.basic_auth(user, Some(password)),
            Self::Bearer(token) => request.bearer_auth(token),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no credentials",
            Self::Basic { .. } => "user and password",
            Self::Bearer(_) => "a token",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(variables: &[(&str, &str)]) -> String {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        format!("{:?}", Credentials::from_variables(variable))
    }

    #[test]
    fn user_and_password_come_before_a_token_and_nothing_is_shown() {
        assert_eq!(told(&[]), "no credentials");
        assert_eq!(told(&[("USERNAME", "anna")]), "no credentials");
        assert_eq!(told(&[("USERNAME", "anna"), ("PASSWORD", "pw"), ("TOKEN", "t")]), "user and password");
        assert_eq!(told(&[("USERNAME", ""), ("PASSWORD", "pw"), ("TOKEN", "t")]), "a token");
    }
}
