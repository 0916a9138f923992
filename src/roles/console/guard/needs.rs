//! What a request needs: one table for all routes.

use axum::http::Method;

use crate::config::tokens::Access;
use crate::roles::console::assets::{FOLDER, ICON, PAGES};

pub(super) fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether it is of the web console, which holds nothing that is secret.
fn is_page(path: &str) -> bool {
    path == ICON || is_below(path, FOLDER) || PAGES.iter().any(|page| is_below(path, page))
}

/// What a request needs. None where it is open: health, metrics and what says where things are.
pub(super) fn needed(method: &Method, path: &str) -> Option<Access> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let asks = reads || *method == Method::POST;
    match path {
        "/"
        | "/livez"
        | "/readyz"
        | "/metrics"
        | "/health"
        | "/.well-known/authzen-configuration"
            if reads =>
        {
            None
        }
        _ if reads && is_page(path) => None,
        _ if is_below(path, "/v1/data") || is_below(path, "/v0/data") => {
            Some(if asks { Access::Checker } else { Access::Author })
        }
        _ if is_below(path, "/access") => Some(Access::Checker),
        "/v1/query" => Some(Access::Checker),
        _ if is_below(path, "/v1/compile") => Some(Access::Checker),
        _ if is_below(path, "/v1/policies") => {
            Some(if reads { Access::Viewer } else { Access::Author })
        }
        // Who one is, signing in and out.
        "/api/session" | "/api/openapi.json" => None,
        "/api/enforcement" if !reads => Some(Access::Admin),
        _ if is_below(path, "/api") && !reads => Some(Access::Author),
        _ => Some(Access::Viewer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_which_role() {
        let cases = [
            ("GET", "/", None),
            ("GET", "/livez", None),
            ("GET", "/readyz", None),
            ("GET", "/metrics", None),
            ("GET", "/health", None),
            ("GET", "/.well-known/authzen-configuration", None),
            ("POST", "/metrics", Some(Access::Viewer)),
            ("POST", "/v1/data", Some(Access::Checker)),
            ("GET", "/v1/data/a/b", Some(Access::Checker)),
            ("PUT", "/v1/data/a", Some(Access::Author)),
            ("POST", "/v0/data/a", Some(Access::Checker)),
            ("POST", "/access/v1/evaluation", Some(Access::Checker)),
            ("GET", "/v1/policies/", Some(Access::Viewer)),
            ("PUT", "/v1/policies/a", Some(Access::Author)),
            ("DELETE", "/v1/policies/a", Some(Access::Author)),
            ("GET", "/api/enforcement", Some(Access::Viewer)),
            ("PUT", "/api/enforcement", Some(Access::Admin)),
            ("GET", "/policies/cost_control", None),
            ("GET", "/assets/a.js", None),
            ("POST", "/policies", Some(Access::Viewer)),
            ("GET", "/api/session", None),
            ("POST", "/api/session", None),
            ("GET", "/api/policies", Some(Access::Viewer)),
            ("PATCH", "/api/policies/a", Some(Access::Author)),
            ("POST", "/api/policies/a/test", Some(Access::Author)),
            ("GET", "/api/decisions/export", Some(Access::Viewer)),
            ("POST", "/api/violations/a/acknowledge", Some(Access::Author)),
            ("GET", "/whatever", Some(Access::Viewer)),
            ("GET", "/v1/database", Some(Access::Viewer)),
        ];
        for (method, path, access) in cases {
            assert_eq!(needed(&method.parse().unwrap(), path), access, "{method} {path}");
        }
        assert!(Access::Checker < Access::Viewer && Access::Author < Access::Admin);
    }
}
