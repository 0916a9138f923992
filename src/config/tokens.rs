//! Bearer tokens of the HTTP server: `name:role:token`, or `name:role:sha256:<hex>` for who would
//! rather not write the token down. Only digests are kept.

use std::fmt;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::model::Http;

/// Characters of the shortest token: it can't be guessed within any rate limit.
const SHORTEST: usize = 16;
/// Characters of the longest name.
const LONGEST_NAME: usize = 64;
/// Tokens at most: each request is compared with all of them.
const MOST: usize = 1_000;

/// What a caller may do over HTTP; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Ask for decisions.
    Checker,
    /// Read policies.
    Viewer,
    /// Write policies.
    Author,
    /// Turn the switch for enforcement.
    Admin,
}

impl Access {
    /// All roles, the least first.
    pub const ALL: [Self; 4] = [Self::Checker, Self::Viewer, Self::Author, Self::Admin];

    /// Its name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checker => "checker",
            Self::Viewer => "viewer",
            Self::Author => "author",
            Self::Admin => "admin",
        }
    }
}

/// A token of the configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Who has it: the author of what is changed with it.
    pub name: String,
    /// What it may do.
    pub access: Access,
    /// SHA-256 of the token.
    pub digest: [u8; 32],
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, {})", self.name, self.access.as_str())
    }
}

/// What is wrong with a token; neither text shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenFault {
    /// Its place in the list, from 1.
    pub(super) number: usize,
    pub(super) what: String,
    pub(super) way_out: &'static str,
}

/// Why the tokens can't be had.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file can't be read.
    #[error("the file of tokens {path} (setting http.tokens_file) can't be read: {source}")]
    File {
        /// Its path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A token is none.
    #[error("number {number} in the setting {setting} {what}: {way_out}")]
    Token {
        /// The setting.
        setting: &'static str,
        /// Its place in the list, from 1.
        number: usize,
        /// What is wrong.
        what: String,
        /// What would be right.
        way_out: &'static str,
    },
}

impl TokensError {
    /// Whether trying again may help: never, a person must change the configuration.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        false
    }
}

impl Http {
    /// All tokens, of the setting and of the file.
    ///
    /// # Errors
    /// When the file can't be read, or something in either is no token.
    pub fn all_tokens(&self) -> Result<Vec<Token>, TokensError> {
        let fault = |setting| {
            move |TokenFault { number, what, way_out }| TokensError::Token {
                setting,
                number,
                what,
                way_out,
            }
        };
        let mut tokens = read_tokens(self.tokens.expose(), ',').map_err(fault("http.tokens"))?;
        if self.tokens_file != Path::new("") {
            let text = std::fs::read_to_string(&self.tokens_file).map_err(|source| {
                TokensError::File { path: self.tokens_file.display().to_string(), source }
            })?;
            tokens.extend(read_tokens(&text, '\n').map_err(fault("http.tokens_file"))?);
        }
        Ok(tokens)
    }
}

/// Reads a list of tokens. Empty places, and those that begin with `#`, count as nothing.
pub(super) fn read_tokens(text: &str, separator: char) -> Result<Vec<Token>, TokenFault> {
    let mut tokens = Vec::new();
    for (number, one) in (1..).zip(text.split(separator).map(str::trim)) {
        if one.is_empty() || one.starts_with('#') {
            continue;
        }
        let token = read(one).map_err(|(what, way_out)| TokenFault { number, what, way_out })?;
        if tokens.len() == MOST {
            let what = format!("is one too many: at most {MOST} are taken");
            return Err(TokenFault { number, what, way_out: "callers may share a token" });
        }
        tokens.push(token);
    }
    Ok(tokens)
}

fn read(text: &str) -> Result<Token, (String, &'static str)> {
    const SHAPE: &str = "write name:role:token, for example agents:checker:<32 random characters>";
    let (Some(name), Some(role), Some(secret)) = ({
        let mut parts = text.splitn(3, ':');
        (parts.next(), parts.next(), parts.next())
    }) else {
        return Err(("has not three parts".into(), SHAPE));
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if !(1..=LONGEST_NAME).contains(&name.len()) || !name.chars().all(plain) {
        let way_out = "a name has up to 64 letters, digits, `-`, `_`, `.` and `@`";
        return Err(("has no name that can be taken".into(), way_out));
    }
    let Some(access) = Access::ALL.into_iter().find(|access| access.as_str() == role) else {
        let way_out = "the second part is one of checker, viewer, author, admin";
        return Err(("names no role".into(), way_out));
    };
    let digest = match secret.strip_prefix("sha256:") {
        Some(digest) => {
            let mut bytes = [0; 32];
            hex::decode_to_slice(digest, &mut bytes).map_err(|_| {
                let way_out = "behind sha256: stand the 64 hexadecimal digits of the token's digest: printf %s \"$TOKEN\" | sha256sum";
                ("has no digest".to_owned(), way_out)
            })?;
            bytes
        }
        None => {
            if secret.chars().count() < SHORTEST || !secret.chars().all(|c| c.is_ascii_graphic()) {
                let way_out = "a token has at least 16 printable characters without blanks: openssl rand -hex 32";
                return Err((
                    "is too short, or has characters that no header holds".into(),
                    way_out,
                ));
            }
            Sha256::digest(secret.as_bytes()).into()
        }
    };
    Ok(Token { name: name.to_owned(), access, digest })
}
