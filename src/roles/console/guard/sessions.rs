//! Who has signed in with a browser: the browser has an id, the server knows whose it is.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// How long nobody may use a session before it ends.
const IDLE: Duration = Duration::from_secs(12 * 3_600);
/// Sessions at once; beyond them the one ends that was not used for the longest time.
const MOST: usize = 1_000;

/// The sessions, by the digest of their ids. They end with the process.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    known: Mutex<HashMap<[u8; 32], Known>>,
}

#[derive(Debug)]
struct Known {
    token: usize,
    used: Instant,
}

impl Sessions {
    /// A new one for the token at this place. Its id has 244 random bits.
    pub(super) fn begin(&self, token: usize) -> String {
        let id = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, session| now.duration_since(session.used) < IDLE);
        if known.len() >= MOST
            && let Some(oldest) =
                known.iter().min_by_key(|(_, session)| session.used).map(|(id, _)| *id)
        {
            known.remove(&oldest);
        }
        known.insert(digest(&id), Known { token, used: now });
        id
    }

    /// The place of the token that this session is of.
    pub(super) fn token_of(&self, id: &str) -> Option<usize> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let session = known.get_mut(&digest(id)).filter(|session| session.used.elapsed() < IDLE)?;
        session.used = Instant::now();
        Some(session.token)
    }

    /// Ends one.
    pub(super) fn end(&self, id: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(id));
    }
}

fn digest(id: &str) -> [u8; 32] {
    Sha256::digest(id.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_its_tokens_until_it_ends() {
        let sessions = Sessions::default();
        let (a, b) = (sessions.begin(3), sessions.begin(5));
        assert_ne!(a, b);
        assert_eq!((sessions.token_of(&a), sessions.token_of(&b)), (Some(3), Some(5)));
        sessions.end(&a);
        assert_eq!((sessions.token_of(&a), sessions.token_of("")), (None, None));
        let first = sessions.begin(0);
        for _ in 0..MOST {
            sessions.begin(1);
        }
        assert_eq!(sessions.token_of(&first), None, "their number is bounded");
    }
}
