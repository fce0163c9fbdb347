//! Who asks the server: by the environment variables that MLflow's own clients read, and never shown.

use reqwest::RequestBuilder;
use std::ffi::OsString;
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

/// What a variable holds is of no use. It is not repeated.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {variable} {fault}: set it to what the MLflow server knows, or unset it")]
pub(crate) struct Unusable {
    variable: String,
    fault: &'static str,
}

impl Credentials {
    /// Of this process: user and password, or else a token.
    ///
    /// # Errors
    /// A request cannot carry one of them.
    pub(crate) fn from_environment() -> Result<Self, Unusable> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, Unusable> {
        let given = |name: &str| {
            let variable_name = format!("MLFLOW_TRACKING_{name}");
            let value = variable(&variable_name).unwrap_or_default();
            let unusable = |fault| Unusable { variable: variable_name, fault };
            let Ok(value) = value.into_string() else { return Err(unusable("is not UTF-8")) };
            // A file that it was read from, such as a secret's in Kubernetes, often ends with a line break.
            match value.trim() {
                "" => Ok(None),
                value if value.contains(char::is_control) => {
                    Err(unusable("has a line break or control character in it"))
                }
                value => Ok(Some(value.to_owned())),
            }
        };
        Ok(match (given("USERNAME")?, given("PASSWORD")?, given("TOKEN")?) {
            (Some(user), Some(password), _) => Self::Basic { user, password },
            (_, _, Some(token)) => Self::Bearer(token),
            _ => Self::None,
        })
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

    fn of(variables: &[(&str, &str)]) -> Result<Credentials, Unusable> {
        let value = |name: &str| {
            let name = name.strip_prefix("MLFLOW_TRACKING_").unwrap();
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        };
        Credentials::from_variables(value)
    }

    #[test]
    fn user_and_password_come_before_a_token_and_nothing_is_shown() {
        let told = |variables: &[(&str, &str)]| format!("{:?}", of(variables).unwrap());
        assert_eq!(told(&[]), "no credentials");
        assert_eq!(told(&[("USERNAME", "anna")]), "no credentials");
        assert_eq!(told(&[("USERNAME", "anna"), ("PASSWORD", "pw"), ("TOKEN", "t")]), "user and password");
        assert_eq!(told(&[("USERNAME", ""), ("PASSWORD", "pw"), ("TOKEN", "t")]), "a token");
        assert_eq!(told(&[("TOKEN", " \n")]), "no credentials");
    }

    #[test]
    fn a_line_break_at_the_end_of_a_secret_is_no_part_of_it() {
        let Credentials::Bearer(token) = of(&[("TOKEN", "se-cret \r\n")]).unwrap() else { panic!("a token") };
        assert_eq!(token, "se-cret");
        let basic = of(&[("USERNAME", "anna\n"), ("PASSWORD", "se cret\n")]).unwrap();
        let Credentials::Basic { user, password } = basic else { panic!("user and password") };
        assert_eq!((&*user, &*password), ("anna", "se cret"));
    }

    #[test]
    fn what_no_request_can_carry_is_refused_by_the_name_of_its_variable() {
        let refused = of(&[("TOKEN", "se\ncret")]).unwrap_err().to_string();
        let reason = "the environment variable MLFLOW_TRACKING_TOKEN has a line break or control character in it: ";
        assert!(refused.starts_with(reason) && !refused.contains("cret"), "{refused}");
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStringExt;
            let password = |name: &str| name.ends_with("PASSWORD").then(|| OsString::from_vec(b"se\xffcret".to_vec()));
            let refused = Credentials::from_variables(password).unwrap_err().to_string();
            assert!(
                refused.contains("MLFLOW_TRACKING_PASSWORD is not UTF-8") && !refused.contains("cret"),
                "{refused}"
            );
        }
    }
}
