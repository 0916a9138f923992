//! Keys: who may seal, and whose seals are believed.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::config;

/// A key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file of the private key.
    #[error("the signing key {path}: {reason} (setting chain.signing_key_file)")]
    File {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A public key.
    #[error("the public key `{key}`: {reason} (setting chain.public_keys)")]
    Public {
        /// As it was written.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No randomness.
    #[error("the system has no randomness for a key: {0}")]
    Random(String),
}

impl KeyError {
    /// Whether trying again may help: no, a person must act.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        false
    }
}

/// The key that signs links. Shows nothing of itself.
#[derive(Clone)]
pub struct Signer(SigningKey);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("public_key", &self.public_key()).finish_non_exhaustive()
    }
}

impl Signer {
    /// The key that the configuration names; none where it names none.
    ///
    /// # Errors
    /// When the file can't be read or holds no such key.
    pub fn of(config: &config::Chain) -> Result<Option<Self>, KeyError> {
        let path = &config.signing_key_file;
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        Self::read(path).map(Some)
    }

    fn read(path: &Path) -> Result<Self, KeyError> {
        let file = |reason: String| KeyError::File { path: path.to_owned(), reason };
        let pem = std::fs::read_to_string(path).map_err(|error| file(error.to_string()))?;
        let mode = std::fs::metadata(path).map_err(|error| file(error.to_string()))?.mode();
        if mode & 0o007 != 0 {
            let reason = "everybody on this machine may read or change it: chmod o= on it, or make \
                          another one if somebody may have seen it";
            return Err(file(reason.to_owned()));
        }
        let key = SigningKey::from_pkcs8_pem(&pem).map_err(|error| {
            file(format!(
                "no ed25519 private key in PKCS#8 and PEM: {error}; \
                 `sluicegate audit keygen FILE` makes one"
            ))
        })?;
        Ok(Self(key))
    }

    /// A new key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = [0_u8; 32];
        getrandom::fill(&mut seed).map_err(|error| KeyError::Random(error.to_string()))?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// The private key in PKCS#8 and PEM, as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// Never, as far as is known.
    pub fn to_pem(&self) -> Result<impl AsRef<str> + use<>, KeyError> {
        // Without the public key, which OpenSSL doesn't write and older readers don't take.
        let pair =
            ed25519_dalek::pkcs8::KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        let failed = |error: ed25519_dalek::pkcs8::Error| KeyError::Random(error.to_string());
        let pem = pair
            .to_pkcs8_pem(ed25519_dalek::pkcs8::spki::der::pem::LineEnding::LF)
            .map_err(failed)?;
        Ok(Pem(pem.to_string()))
    }

    /// The public key, in hexadecimal.
    #[must_use]
    pub fn public_key(&self) -> String {
        hex::encode(self.0.verifying_key().as_bytes())
    }

    /// The signature of a digest, in hexadecimal.
    #[must_use]
    pub fn sign(&self, digest: &[u8]) -> String {
        hex::encode(self.0.sign(digest).to_bytes())
    }
}

struct Pem(String);

impl AsRef<str> for Pem {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The public keys whose signatures are believed; where there are none, links need no signature.
#[derive(Clone, Debug, Default)]
pub struct Trusted(Vec<VerifyingKey>);

/// What a signature is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// By a key that is believed.
    Yes,
    /// There is none, and none is asked for.
    Unsigned,
    /// There is one, and no key to believe: it says nothing.
    Unknown,
    /// There should be one and isn't.
    Missing,
    /// By none of the keys that are believed.
    Wrong,
}

impl Trusted {
    /// The keys that the configuration names, else that of the signing key.
    ///
    /// # Errors
    /// When one is none.
    pub fn of(config: &config::Chain) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for text in &config.public_keys {
            let bad = |reason: String| KeyError::Public { key: text.clone(), reason };
            let mut bytes = [0_u8; 32];
            hex::decode_to_slice(text.trim(), &mut bytes)
                .map_err(|error| bad(format!("not 32 bytes in hexadecimal: {error}")))?;
            keys.push(VerifyingKey::from_bytes(&bytes).map_err(|error| bad(error.to_string()))?);
        }
        if keys.is_empty()
            && let Some(signer) = Signer::of(config)?
        {
            keys.push(signer.0.verifying_key());
        }
        Ok(Self(keys))
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys, in hexadecimal.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.0.iter().map(|key| hex::encode(key.as_bytes())).collect()
    }

    /// What a signature (in hexadecimal) of a digest is worth.
    #[must_use]
    pub fn check(&self, digest: &[u8], signature: &str) -> Signed {
        match (self.0.is_empty(), signature.is_empty()) {
            (true, true) => return Signed::Unsigned,
            (true, false) => return Signed::Unknown,
            (false, true) => return Signed::Missing,
            (false, false) => (),
        }
        let mut bytes = [0_u8; 64];
        if hex::decode_to_slice(signature, &mut bytes).is_err() {
            return Signed::Wrong;
        }
        let signature = Signature::from_bytes(&bytes);
        let by = |key: &VerifyingKey| key.verify_strict(digest, &signature).is_ok();
        if self.0.iter().any(by) { Signed::Yes } else { Signed::Wrong }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl genpkey -algorithm ed25519` made it, and `openssl pkey -pubout` its public key.
    const OPENSSL: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIGwYK+IHCgejbcXVT+tzSc8jwO98G018fXdSHSo8V8Nd
-----END PRIVATE KEY-----
";
    const OPENSSL_PUBLIC: &str = "c945dd051b0f083f90dbc7033fe5ffe0debb4963e70dcb7817870ee773da0982";

    #[test]
    fn a_key_of_openssl_is_read_and_signs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        std::fs::write(&path, OPENSSL).unwrap();
        let config = config::Chain { signing_key_file: path, ..config::Chain::default() };
        let signer = Signer::of(&config).unwrap().unwrap();
        assert_eq!(signer.public_key(), OPENSSL_PUBLIC);
        assert!(!format!("{signer:?}").contains(OPENSSL.lines().nth(1).unwrap()));

        let trusted = Trusted::of(&config).unwrap();
        let signature = signer.sign(b"digest");
        assert_eq!(trusted.check(b"digest", &signature), Signed::Yes);
        assert_eq!(trusted.check(b"digesT", &signature), Signed::Wrong);
        assert_eq!(trusted.check(b"digest", ""), Signed::Missing);
        assert_eq!(trusted.check(b"digest", "zz"), Signed::Wrong);
        let other = Signer::generate().unwrap();
        assert_eq!(trusted.check(b"digest", &other.sign(b"digest")), Signed::Wrong);
        assert_eq!(Trusted::default().check(b"digest", &signature), Signed::Unknown);
        assert_eq!(Trusted::default().check(b"digest", ""), Signed::Unsigned);
    }

    #[test]
    fn a_new_key_is_written_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let signer = Signer::generate().unwrap();
        std::fs::write(&path, signer.to_pem().unwrap().as_ref()).unwrap();
        assert_eq!(Signer::read(&path).unwrap().public_key(), signer.public_key());
        assert_ne!(Signer::generate().unwrap().public_key(), signer.public_key());
    }

    #[test]
    fn what_is_no_key_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        assert!(Signer::read(&path).is_err());
        std::fs::write(&path, "hello").unwrap();
        let error = Signer::read(&path).unwrap_err().to_string();
        assert!(error.contains("audit keygen"), "{error}");
        for key in ["", "zz", "00"] {
            let config =
                config::Chain { public_keys: vec![key.to_owned()], ..config::Chain::default() };
            assert!(Trusted::of(&config).is_err(), "{key}");
        }
    }
}
