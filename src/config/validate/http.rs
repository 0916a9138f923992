//! Who may call the HTTP server. Tokens are secrets: what is said of one names its place in the list.

use super::Findings;
use crate::config::model::{Anonymous, Config};
use crate::config::tokens::read_tokens;
use crate::config::url;

pub(super) fn check(c: &Config, findings: &mut Findings) {
    let http = &c.http;
    if let Err(fault) = read_tokens(http.tokens.expose(), ',') {
        findings.require(
            false,
            "http.tokens",
            &format!("number {} {}", fault.number, fault.what),
            fault.way_out,
        );
    }
    let signed_in = !http.tokens.is_empty() || !http.tokens_file.as_os_str().is_empty();
    if !http.listen.ip().is_loopback() && !signed_in && http.anonymous == Anonymous::Auto {
        findings.add(
            &["http.listen", "http.tokens", "http.tokens_file", "http.anonymous"],
            format!(
                "`http.listen` is {}, and there are no tokens: whoever reaches that address could ask, and change policies",
                http.listen
            ),
            "set http.tokens or http.tokens_file; or listen on 127.0.0.1 or [::1]; or say what callers without a token may do: \
             http.anonymous = \"none\" leaves health and metrics",
        );
    }
    for host in &http.hosts {
        findings.require(
            is_host(host),
            "http.hosts",
            &format!("has {host:?}"),
            "names without scheme, port and path: pdp.example.org, 192.0.2.7, [2001:db8::1]",
        );
    }
    let public = http.public_url.as_str();
    if !public.is_empty() && url::check(public, &["http", "https"]).is_err() {
        findings.require(
            false,
            "http.public_url",
            &format!("is {:?}", url::hide_credentials(public)),
            "scheme and host alone, such as https://pdp.example.org",
        );
    }
}

fn is_host(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            (1..=253).contains(&host.len()) && host.chars().all(plain)
        }
    }
}
