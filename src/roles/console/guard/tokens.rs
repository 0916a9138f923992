//! Finding a token among those that are known, in a time that says nothing of them.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::tokens::Token;

/// The tokens that are known, as digests.
#[derive(Debug)]
pub(super) struct Tokens(Vec<Token>);

impl Tokens {
    pub(super) const fn new(tokens: Vec<Token>) -> Self {
        Self(tokens)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The token at a place.
    pub(super) fn get(&self, index: usize) -> Option<&Token> {
        self.0.get(index)
    }

    /// The token of this text, and its place. Compared with every one, whichever it is.
    pub(super) fn find(&self, presented: Option<&str>) -> Option<(usize, &Token)> {
        let digest: [u8; 32] = Sha256::digest(presented?.as_bytes()).into();
        let mut found = None;
        for (index, token) in self.0.iter().enumerate() {
            if bool::from(token.digest.ct_eq(&digest)) {
                found = Some((index, token));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tokens::Access;

    #[test]
    fn found_by_the_whole_text_only() {
        let token = |name: &str, text: &str| Token {
            name: name.into(),
            access: Access::Viewer,
            digest: Sha256::digest(text.as_bytes()).into(),
        };
        let tokens =
            Tokens::new(vec![token("a", "first-token-here"), token("b", "second-one-here")]);
        assert_eq!(tokens.find(Some("second-one-here")).unwrap().1.name, "b");
        for text in ["", "first-token-her", "first-token-here ", "FIRST-TOKEN-HERE"] {
            assert!(tokens.find(Some(text)).is_none(), "{text}");
        }
        assert!(tokens.find(None).is_none());
    }
}
