//! By which names this server may be called. A page in somebody's browser can make the browser call a
//! loopback address by a name of its own (DNS rebinding), or send a form there: neither gets in.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};

use super::Refused;

/// Paths for probes of health, which call by an address that nobody configures.
const PROBES: [&str; 3] = ["/livez", "/readyz", "/health"];

/// The names.
#[derive(Debug)]
pub(super) struct Hosts {
    /// Whether names are looked at: on loopback, or where some are configured.
    looked_at: bool,
    listen: IpAddr,
    names: Vec<String>,
}

impl Hosts {
    pub(super) fn new(listen: IpAddr, names: &[String]) -> Self {
        let names: Vec<String> = names.iter().map(|name| bare(name).to_lowercase()).collect();
        Self { looked_at: listen.is_loopback() || !names.is_empty(), listen, names }
    }

    /// Whether a request may come by this name, and from this page.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
        let called = uri.authority().cloned().or_else(|| {
            headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse().ok())
        });
        let probe = !self.listen.is_loopback() && PROBES.contains(&uri.path());
        if self.looked_at && !probe {
            let known = called.as_ref().is_some_and(|called| self.knows(called));
            if !known {
                return Err(Refused::Name(format!(
                    "this server isn't called {:?}; other names than those of loopback are a setting, \
                     http.hosts",
                    called.as_ref().map_or("", Authority::as_str)
                )));
            }
        }
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let page: Option<Authority> =
            origin.to_str().ok().and_then(|text| text.parse::<Uri>().ok()?.authority().cloned());
        match (page, called) {
            (Some(page), Some(called)) if page.as_str().eq_ignore_ascii_case(called.as_str()) => {
                Ok(())
            }
            _ => Err(Refused::Name("requests from other sites' pages are refused".to_owned())),
        }
    }

    fn knows(&self, called: &Authority) -> bool {
        let name = bare(called.host()).to_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        match name.parse::<IpAddr>() {
            Ok(address) => {
                address.is_loopback()
                    || address == self.listen
                    || self.names.iter().any(|known| known == name)
            }
            Err(_) => name == "localhost" || self.names.iter().any(|known| known == name),
        }
    }
}

/// An address without its brackets.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(hosts: &Hosts, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        hosts.check(&"/v1/data".parse().unwrap(), &headers).is_ok()
    }

    #[test]
    fn on_loopback_only_its_names() {
        let hosts = Hosts::new([127, 0, 0, 1].into(), &[]);
        for host in ["localhost:8181", "127.0.0.1:8181", "[::1]:8181", "LOCALHOST", "localhost."] {
            assert!(called(&hosts, host, None), "{host}");
        }
        for host in ["evil.example:8181", "localhost.evil.example", "10.0.0.1", "127.0.0.1.nip.io"]
        {
            assert!(!called(&hosts, host, None), "{host}");
        }
        assert!(hosts.check(&"/".parse().unwrap(), &HeaderMap::new()).is_err(), "no name at all");
        let absolute = "http://evil.example/".parse().unwrap();
        assert!(hosts.check(&absolute, &HeaderMap::new()).is_err());
    }

    #[test]
    fn configured_names_and_other_addresses() {
        let names = ["PDP.example.org".to_owned(), "[2001:db8::1]".to_owned()];
        let hosts = Hosts::new([0, 0, 0, 0].into(), &names);
        assert!(called(&hosts, "pdp.example.org:8181", None));
        assert!(called(&hosts, "[2001:db8::1]", None));
        assert!(!called(&hosts, "10.0.0.1", None));
        let any = Hosts::new([0, 0, 0, 0].into(), &[]);
        assert!(called(&any, "whatever.example", None));
        let probed = |hosts: &Hosts| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "10.0.0.1:8181".parse().unwrap());
            PROBES.map(|path| hosts.check(&path.parse().unwrap(), &headers).is_ok())
        };
        assert_eq!(probed(&hosts), [true; 3], "probes call by an address");
        assert_eq!(probed(&Hosts::new([127, 0, 0, 1].into(), &names)), [false; 3]);
    }

    #[test]
    fn only_pages_of_this_server() {
        let hosts = Hosts::new([127, 0, 0, 1].into(), &[]);
        assert!(called(&hosts, "localhost:8181", Some("http://localhost:8181")));
        for origin in ["https://evil.example", "null", "http://localhost:9999"] {
            assert!(!called(&hosts, "localhost:8181", Some(origin)), "{origin}");
        }
    }
}
