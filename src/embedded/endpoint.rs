//! The address a server shall listen on, from the URL that its clients use.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::error::{EmbeddedError, Setting};

/// How a kind of URL looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scheme {
    /// The setting that holds the URL.
    pub(super) setting: Setting,
    /// The only scheme that the embedded server speaks.
    scheme: &'static str,
    /// Whether the scheme may be left out.
    optional: bool,
    /// The port of a URL that names none.
    port: u16,
    /// A URL that works.
    example: &'static str,
}

/// URLs of NATS.
pub(super) const NATS: Scheme = Scheme {
    setting: Setting::NATS_URL,
    scheme: "nats",
    optional: true,
    port: 4222,
    example: "nats://127.0.0.1:4222",
};

/// URLs of ClickHouse's HTTP interface.
pub(super) const CLICKHOUSE: Scheme = Scheme {
    setting: Setting::CLICKHOUSE_URL,
    scheme: "http",
    optional: false,
    port: 80,
    example: "http://127.0.0.1:8123",
};

/// The loopback address that a URL names.
pub(super) fn loopback(kind: Scheme, url: &str) -> Result<SocketAddr, EmbeddedError> {
    parse(kind, url.trim()).map_err(|why| EmbeddedError::Address {
        setting: kind.setting,
        value: without_userinfo(url),
        why,
        example: kind.example,
    })
}

fn parse(kind: Scheme, url: &str) -> Result<SocketAddr, String> {
    if url.contains(',') {
        return Err("it names several servers".into());
    }
    let rest = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(kind.scheme) => rest,
        Some((scheme, _)) => return Err(format!("the embedded server does not speak {scheme:?}")),
        None if kind.optional => url,
        None => return Err(format!("it does not begin with {}://", kind.scheme)),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = split_port(host_port)?;
    let port = port.unwrap_or(kind.port);
    if port == 0 {
        return Err("port 0 is none that clients can be told".into());
    }
    let ip = if host.eq_ignore_ascii_case("localhost") {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    } else {
        host.parse()
            .map_err(|_| format!("{host:?} is not an address of this machine's loopback"))?
    };
    if !ip.is_loopback() {
        return Err(format!("{ip} is not on loopback"));
    }
    Ok(SocketAddr::new(ip, port))
}

fn split_port(host_port: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match host_port.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("a bracket is not closed")?;
            (host, after.strip_prefix(':'))
        }
        None => match host_port.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host_port, None),
        },
    };
    let port =
        port.map(|text| text.parse().map_err(|_| format!("{text:?} is not a port"))).transpose()?;
    Ok((host, port))
}

/// The URL without user and password, which have no place in a message.
fn without_userinfo(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        (None, Some((_, host))) => host.to_owned(),
        (_, None) => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_urls() {
        for (kind, url, address) in [
            (NATS, "nats://127.0.0.1:4222", "127.0.0.1:4222"),
            (NATS, "127.0.0.1", "127.0.0.1:4222"),
            (NATS, "nats://localhost:14222", "127.0.0.1:14222"),
            (NATS, "nats://user:p@ss@[::1]:5222", "[::1]:5222"),
            (CLICKHOUSE, "http://127.0.0.1:8123/", "127.0.0.1:8123"),
            (CLICKHOUSE, "HTTP://LocalHost", "127.0.0.1:80"),
        ] {
            assert_eq!(
                loopback(kind, url).unwrap(),
                address.parse::<SocketAddr>().unwrap(),
                "{url}"
            );
        }
    }

    #[test]
    fn other_urls_are_refused_with_the_setting_and_the_way_out() {
        for (kind, url, why) in [
            (NATS, "nats://10.0.0.1:4222", "not on loopback"),
            (NATS, "nats://0.0.0.0:4222", "not on loopback"),
            (NATS, "nats://nats.example:4222", "not an address"),
            (NATS, "nats://127.0.0.1:4222,nats://127.0.0.1:4223", "several"),
            (NATS, "tls://127.0.0.1:4222", "tls"),
            (NATS, "nats://127.0.0.1:0", "port 0"),
            (NATS, "nats://127.0.0.1:x", "not a port"),
            (CLICKHOUSE, "127.0.0.1:8123", "http://"),
            (CLICKHOUSE, "https://127.0.0.1:8443", "https"),
        ] {
            let error = loopback(kind, url).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert!(
                error.contains(kind.setting.0) && error.contains("sluicegate serve"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_repeated() {
        let error = loopback(NATS, "nats://user:hunter2@10.0.0.1:4222").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
