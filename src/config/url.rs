//! The little that has to be known of URLs: whether one is usable, and how to print one.

/// What stands in the place of a secret.
const HIDDEN: &str = super::secret::Secret::HIDDEN;

/// The text with whatever may be a credential hidden: all before an `@`, and the query. When in
/// doubt it hides too much.
pub(super) fn hide_credentials(text: &str) -> String {
    let mut urls: Vec<String> = Vec::new();
    for part in text.split(',') {
        match urls.last_mut() {
            // Without a scheme it may be the rest of a password with a comma in it.
            Some(last) if !part.contains("://") => {
                last.push(',');
                last.push_str(part);
            }
            _ => urls.push(part.trim().to_owned()),
        }
    }
    urls.iter().map(|url| hide_one(url)).collect::<Vec<_>>().join(",")
}

fn hide_one(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let (before, after) = match rest.rsplit_once('@') {
        Some((_, after)) => (format!("{HIDDEN}@"), after),
        None => (String::new(), rest),
    };
    let (after, query) = match after.find(['?', '#']) {
        Some(at) => (after.get(..at).unwrap_or_default(), format!("?{HIDDEN}")),
        None => (after, String::new()),
    };
    let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    format!("{scheme}{before}{after}{query}")
}

/// Why a URL can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// Nothing stands there.
    Empty,
    /// It has no scheme, or another one.
    Scheme,
    /// It holds a user name, a password or a token.
    Credentials,
    /// It names no host, or one that can't be.
    Host,
    /// Its port isn't one.
    Port,
    /// It goes on behind host and port.
    Tail,
}

/// Checks `scheme://host[:port][/]` with one of these schemes.
pub(super) fn check(url: &str, schemes: &[&str]) -> Result<(), Unusable> {
    if url.is_empty() {
        return Err(Unusable::Empty);
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(if url.contains('@') { Unusable::Credentials } else { Unusable::Scheme });
    };
    if rest.contains('@') {
        return Err(Unusable::Credentials);
    }
    if !schemes.contains(&scheme) {
        return Err(Unusable::Scheme);
    }
    let (authority, tail) = match rest.find(['/', '?', '#']) {
        Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at..).unwrap_or_default()),
        None => (rest, ""),
    };
    if !matches!(tail, "" | "/") {
        return Err(Unusable::Tail);
    }
    let port = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => port,
        Some(_) => return Err(Unusable::Host),
        None => {
            let at = authority.find(':').unwrap_or(authority.len());
            let (host, port) =
                (authority.get(..at).unwrap_or_default(), authority.get(at..).unwrap_or_default());
            let plausible = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if host.is_empty() || !host.chars().all(plausible) {
                return Err(Unusable::Host);
            }
            port
        }
    };
    let digits = |port: &str| port.chars().all(|c| c.is_ascii_digit());
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(()),
        Some(port) if digits(port) && port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(()),
        _ => Err(Unusable::Port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NATS: &[&str] = &["nats", "tls"];

    #[test]
    fn usable_urls() {
        for url in ["nats://127.0.0.1:4222", "tls://n-1.example.org", "nats://[::1]:4222/"] {
            assert_eq!(check(url, NATS), Ok(()), "{url}");
        }
    }

    #[test]
    fn unusable_urls_say_why() {
        for (url, why) in [
            ("", Unusable::Empty),
            ("127.0.0.1:4222", Unusable::Scheme),
            ("ws://127.0.0.1:80", Unusable::Scheme),
            ("nats://u:p@host:4222", Unusable::Credentials),
            ("u:p@host", Unusable::Credentials),
            ("nats://", Unusable::Host),
            ("nats://:4222", Unusable::Host),
            ("nats://ho st", Unusable::Host),
            ("nats://[::g]:1", Unusable::Host),
            ("nats://host:", Unusable::Port),
            ("nats://host:0", Unusable::Port),
            ("nats://host:+1", Unusable::Port),
            ("nats://host:70000", Unusable::Port),
            ("nats://host:1:2", Unusable::Port),
            ("nats://[::1]4222", Unusable::Port),
            ("nats://host/path", Unusable::Tail),
            ("nats://host?x=1", Unusable::Tail),
        ] {
            assert_eq!(check(url, NATS), Err(why), "{url}");
        }
    }

    #[test]
    fn credentials_are_hidden_however_odd_the_url() {
        for (url, shown) in [
            ("nats://a:1, nats://b:2", "nats://a:1,nats://b:2"),
            ("nats://alice:s3cret@a:1,nats://b:2", "nats://[hidden]@a:1,nats://b:2"),
            ("nats://alice:s,3,cret@a:1,tls://b", "nats://[hidden]@a:1,tls://b"),
            ("nats://alice:s3@cret@a:1", "nats://[hidden]@a:1"),
            ("alice:s3cret@a", "[hidden]@a"),
            ("http://a:8123/?password=s3cret", "http://a:8123/?[hidden]"),
        ] {
            assert_eq!(hide_credentials(url), shown);
        }
    }
}
