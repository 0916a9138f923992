//! How to reach the workers, and what happens when they can't be reached.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::error::ClientError;
use crate::domain::FailMode;

/// The longest time that a setting may name.
const LONGEST: Duration = Duration::from_secs(3600);

/// How a client signs in to NATS.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// With a name and a password.
    User {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
    /// With a token.
    Token(String),
    /// With a file of credentials (JWT and seed).
    CredentialsFile(PathBuf),
}

/// Without the secrets.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::User { name, .. } => write!(f, "User({name:?})"),
            Self::Token(_) => f.write_str("Token"),
            Self::CredentialsFile(path) => write!(f, "CredentialsFile({path:?})"),
        }
    }
}

/// Settings of a client. Begin with [`Settings::default`] or [`Settings::from_env`] and change what
/// should differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Whether anything is checked; if not, everything is allowed and nothing is sent.
    /// `SLUICEGATE_ENFORCEMENT_ENABLED`, `POLICY_ENFORCEMENT_ENABLED`
    pub enabled: bool,
    /// Servers, separated by commas. `SLUICEGATE_NATS_URL`
    pub url: String,
    /// First tokens of all NATS subjects. `SLUICEGATE_NATS_SUBJECT_PREFIX`
    pub subject_prefix: String,
    /// How to sign in. `SLUICEGATE_NATS_USER` and `_PASSWORD`, `_TOKEN`, `_CREDENTIALS_FILE`
    pub auth: Auth,
    /// Refuse connections without TLS. `SLUICEGATE_NATS_REQUIRE_TLS`
    pub require_tls: bool,
    /// A PEM file with the certificates to trust. `SLUICEGATE_NATS_ROOT_CERTIFICATES`
    pub root_certificates: Option<PathBuf>,
    /// Ask as this agent, on its own NATS subject, which binds the identity. Empty: on the shared
    /// one. `POLICY_CLIENT_AGENT`
    pub agent: String,
    /// What an unchecked call gets: open allows it, closed denies it. `POLICY_CLIENT_FAIL_MODE`
    pub fail_mode: FailMode,
    /// How long a check may take, connecting included. `POLICY_CLIENT_TIMEOUT`, in seconds
    pub timeout: Duration,
    /// How long [`super::Client::close`] waits for what is left to report.
    pub close_timeout: Duration,
    /// Bytes of the largest request. `POLICY_CLIENT_MAX_REQUEST_BYTES`
    pub max_request_bytes: usize,
    /// Requests on their way at once; more wait their turn. `POLICY_CLIENT_MAX_IN_FLIGHT`
    pub max_in_flight: usize,
    /// Failures in a row that open the breaker. `POLICY_CLIENT_BREAKER_FAILURES`
    pub breaker_failures: u32,
    /// How long an open breaker waits before it lets a check through; doubles up to 32 times that.
    /// `POLICY_CLIENT_PROBE_INTERVAL`, in seconds
    pub probe_interval: Duration,
    /// Bytes of unchecked calls that may wait to be reported. `POLICY_CLIENT_SPOOL_BYTES`
    pub spool_bytes: usize,
    /// Where they are kept as files too, so that they survive the process. May be shared by many
    /// processes. `POLICY_CLIENT_SPOOL_FOLDER`
    pub spool_folder: Option<PathBuf>,
    /// Whether guards report how operations ended. `POLICY_CLIENT_OUTCOMES`
    pub outcomes: bool,
    /// Outcomes that may wait to be sent; more are lost and counted. `POLICY_CLIENT_OUTCOME_QUEUE`
    pub outcome_queue: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            url: "nats://127.0.0.1:4222".to_owned(),
            subject_prefix: "policy".to_owned(),
            auth: Auth::None,
            require_tls: false,
            root_certificates: None,
            agent: String::new(),
            fail_mode: FailMode::Open,
            timeout: Duration::from_secs(1),
            close_timeout: Duration::from_secs(2),
            max_request_bytes: 256 * 1024,
            max_in_flight: 1024,
            breaker_failures: 3,
            probe_interval: Duration::from_secs(1),
            spool_bytes: 8 * 1024 * 1024,
            spool_folder: None,
            outcomes: true,
            outcome_queue: 10_000,
        }
    }
}

impl Settings {
    /// The defaults, and over them the environment variables named at each setting.
    ///
    /// # Errors
    /// When a variable has a value that it can't have.
    pub fn from_env() -> Result<Self, ClientError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// As [`Self::from_env`], with variables from elsewhere. Empty ones count as not set.
    ///
    /// # Errors
    /// When a variable has a value that it can't have.
    pub fn from_variables(variables: impl Fn(&str) -> Option<String>) -> Result<Self, ClientError> {
        let read = Variables { variables: &variables };
        let mut settings = Self::default();
        // The server reads both too, and the longer name wins there as well.
        read.boolean("POLICY_ENFORCEMENT_ENABLED", &mut settings.enabled)?;
        read.boolean("SLUICEGATE_ENFORCEMENT_ENABLED", &mut settings.enabled)?;
        read.text("SLUICEGATE_NATS_URL", &mut settings.url);
        read.text("SLUICEGATE_NATS_SUBJECT_PREFIX", &mut settings.subject_prefix);
        if let Some(path) = read.get("SLUICEGATE_NATS_CREDENTIALS_FILE") {
            settings.auth = Auth::CredentialsFile(path.into());
        } else if let Some(token) = read.get("SLUICEGATE_NATS_TOKEN") {
            settings.auth = Auth::Token(token);
        } else if let Some(name) = read.get("SLUICEGATE_NATS_USER") {
            let password = read.get("SLUICEGATE_NATS_PASSWORD").unwrap_or_default();
            settings.auth = Auth::User { name, password };
        }
        read.boolean("SLUICEGATE_NATS_REQUIRE_TLS", &mut settings.require_tls)?;
        settings.root_certificates = read.get("SLUICEGATE_NATS_ROOT_CERTIFICATES").map(Into::into);
        read.text("POLICY_CLIENT_AGENT", &mut settings.agent);
        if let Some(mode) = read.get("POLICY_CLIENT_FAIL_MODE") {
            settings.fail_mode = match mode.as_str() {
                "open" => FailMode::Open,
                "closed" => FailMode::Closed,
                _ => return Err(wrong("POLICY_CLIENT_FAIL_MODE", &mode, "`open` or `closed`")),
            };
        }
        read.seconds("POLICY_CLIENT_TIMEOUT", &mut settings.timeout)?;
        read.number("POLICY_CLIENT_MAX_REQUEST_BYTES", &mut settings.max_request_bytes)?;
        read.number("POLICY_CLIENT_MAX_IN_FLIGHT", &mut settings.max_in_flight)?;
        read.number("POLICY_CLIENT_BREAKER_FAILURES", &mut settings.breaker_failures)?;
        read.seconds("POLICY_CLIENT_PROBE_INTERVAL", &mut settings.probe_interval)?;
        read.number("POLICY_CLIENT_SPOOL_BYTES", &mut settings.spool_bytes)?;
        settings.spool_folder = read.get("POLICY_CLIENT_SPOOL_FOLDER").map(Into::into);
        read.boolean("POLICY_CLIENT_OUTCOMES", &mut settings.outcomes)?;
        read.number("POLICY_CLIENT_OUTCOME_QUEUE", &mut settings.outcome_queue)?;
        settings.validate()?;
        Ok(settings)
    }

    pub(super) fn validate(&self) -> Result<(), ClientError> {
        for (name, value) in [
            ("timeout", self.timeout),
            ("close_timeout", self.close_timeout),
            ("probe_interval", self.probe_interval),
        ] {
            if value.is_zero() || value > LONGEST {
                return Err(ClientError::setting(
                    name,
                    format!("is {value:?}; it must be more than 0 and at most an hour"),
                ));
            }
        }
        for (name, value) in [
            ("max_request_bytes", self.max_request_bytes),
            ("max_in_flight", self.max_in_flight),
            ("breaker_failures", usize::try_from(self.breaker_failures).unwrap_or(usize::MAX)),
            ("outcome_queue", self.outcome_queue),
        ] {
            if value == 0 || value > 1 << 30 {
                return Err(ClientError::setting(
                    name,
                    format!("is {value}; it must be from 1 to {}", 1 << 30),
                ));
            }
        }
        let tokens = self.subject_prefix.split('.');
        let mut tokens = tokens.map(|token| token.chars().all(is_of_token) && !token.is_empty());
        if !tokens.all(|fine| fine) {
            return Err(ClientError::setting(
                "subject_prefix",
                format!(
                    "is {:?}; it must be tokens of a NATS subject, without wildcards",
                    self.subject_prefix
                ),
            ));
        }
        Ok(())
    }
}

const fn is_of_token(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '.' | '*' | '>')
}

fn wrong(name: &'static str, value: &str, right: &str) -> ClientError {
    ClientError::setting(name, format!("is {value:?}; it must be {right}"))
}

struct Variables<'a> {
    variables: &'a dyn Fn(&str) -> Option<String>,
}

impl Variables<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.variables)(name).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str, into: &mut String) {
        if let Some(value) = self.get(name) {
            *into = value;
        }
    }

    fn boolean(&self, name: &'static str, into: &mut bool) -> Result<(), ClientError> {
        let Some(value) = self.get(name) else { return Ok(()) };
        *into = match value.trim().to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => true,
            "0" | "false" | "no" | "off" => false,
            _ => return Err(wrong(name, &value, "`true` or `false`")),
        };
        Ok(())
    }

    fn number<T: std::str::FromStr>(
        &self,
        name: &'static str,
        into: &mut T,
    ) -> Result<(), ClientError> {
        let Some(value) = self.get(name) else { return Ok(()) };
        *into = value.trim().parse().map_err(|_| wrong(name, &value, "a whole number"))?;
        Ok(())
    }

    fn seconds(&self, name: &'static str, into: &mut Duration) -> Result<(), ClientError> {
        let Some(value) = self.get(name) else { return Ok(()) };
        let seconds = value.trim().parse().ok();
        *into = seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .ok_or_else(|| wrong(name, &value, "a number of seconds"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Settings, ClientError> {
        Settings::from_variables(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables_lie_over_the_defaults() {
        assert_eq!(from(&[]).unwrap(), Settings::default());
        let settings = from(&[
            ("POLICY_ENFORCEMENT_ENABLED", "false"),
            ("POLICY_CLIENT_TIMEOUT", "0.25"),
            ("POLICY_CLIENT_FAIL_MODE", "closed"),
            ("SLUICEGATE_NATS_USER", "planner"),
            ("SLUICEGATE_NATS_PASSWORD", "secret"),
            ("SLUICEGATE_NATS_URL", ""),
        ])
        .unwrap();
        assert!(!settings.enabled);
        assert_eq!(settings.timeout, Duration::from_millis(250));
        assert_eq!(settings.fail_mode, FailMode::Closed);
        assert_eq!(settings.url, Settings::default().url);
        assert!(!format!("{settings:?}").contains("secret"));
    }

    #[test]
    fn the_longer_name_of_the_switch_wins() {
        let both =
            [("POLICY_ENFORCEMENT_ENABLED", "false"), ("SLUICEGATE_ENFORCEMENT_ENABLED", "true")];
        assert!(from(&both).unwrap().enabled);
    }

    #[test]
    fn what_can_not_work_is_refused_by_name() {
        for (name, value) in [
            ("POLICY_CLIENT_TIMEOUT", "soon"),
            ("POLICY_CLIENT_TIMEOUT", "-1"),
            ("POLICY_CLIENT_TIMEOUT", "0"),
            ("POLICY_CLIENT_TIMEOUT", "nan"),
            ("POLICY_CLIENT_FAIL_MODE", "ajar"),
            ("POLICY_CLIENT_MAX_IN_FLIGHT", "0"),
            ("POLICY_CLIENT_OUTCOMES", "maybe"),
            ("SLUICEGATE_NATS_SUBJECT_PREFIX", "policy.>"),
            ("SLUICEGATE_NATS_SUBJECT_PREFIX", "a..b"),
        ] {
            let error = from(&[(name, value)]).unwrap_err();
            assert!(!error.is_transient() && error.to_string().contains("must be"), "{error}");
        }
    }
}
