//! How often each caller may come.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// After so many requests, callers that haven't come for a while are forgotten.
const FORGET_EVERY: u32 = 4_096;

/// Who is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A token, by its place.
    Token(usize),
    /// An address; of IPv6 the network, which is what one caller has.
    Address(IpAddr),
}

impl Key {
    pub(super) fn of(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// A limit for each caller.
pub(super) struct Rate {
    limiter: DefaultKeyedRateLimiter<Key>,
    clock: DefaultClock,
    seen: AtomicU32,
}

impl Rate {
    /// So many a second, and so many at once; none where the limit is 0.
    pub(super) fn new(limit: usize, burst: usize) -> Option<Self> {
        let limit = NonZeroU32::new(u32::try_from(limit).unwrap_or(u32::MAX))?;
        let burst = NonZeroU32::new(u32::try_from(burst).unwrap_or(u32::MAX)).unwrap_or(limit);
        Some(Self {
            limiter: RateLimiter::keyed(Quota::per_second(limit).allow_burst(burst)),
            clock: DefaultClock::default(),
            seen: AtomicU32::new(0),
        })
    }

    /// The seconds that a caller has to wait, if he has to.
    pub(super) fn wait(&self, key: Key) -> Option<u64> {
        if self.seen.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        let not_until = self.limiter.check_key(&key).err()?;
        let wait = not_until.wait_time_from(self.clock.now());
        Some(wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_a_limit_of_his_own() {
        let rate = Rate::new(1, 2).unwrap();
        let (a, b) = (Key::of([10, 0, 0, 1].into()), Key::Token(0));
        assert_eq!((rate.wait(a), rate.wait(a)), (None, None));
        assert_eq!(rate.wait(a), Some(1));
        assert_eq!(rate.wait(b), None);
        assert!(Rate::new(0, 1).is_none());
    }

    #[test]
    fn an_ipv6_network_is_one_caller() {
        let key = |text: &str| Key::of(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
    }
}
