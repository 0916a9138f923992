//! The web console's pages, which are in the binary where they were built before it.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;
use uuid::Uuid;

/// Paths of pages: the page itself finds out which.
pub(super) const PAGES: [&str; 5] = ["/policies", "/audit", "/violations", "/fleet", "/signin"];
/// Folder of scripts, styles and fonts, whose names change with their contents.
pub(super) const FOLDER: &str = "/assets";
/// Files beside it.
pub(super) const ICON: &str = "/favicon.svg";
/// What stands in the page where each answer has a nonce of its own.
const NONCE: &str = "__CSP_NONCE__";

/// The files of `ui/dist`; none where the pages were not built.
#[derive(RustEmbed)]
#[folder = "ui/dist"]
#[allow_missing = true]
struct Files;

pub(super) fn routes() -> Router {
    let mut router = Router::new()
        .route("/assets/{*path}", get(asset))
        .route(ICON, get(async || file("favicon.svg", false)));
    for page in PAGES {
        router = router
            .route(page, get(async || page_or_how()))
            .route(&format!("{page}/{{*rest}}"), get(async || page_or_how()));
    }
    router
}

/// Whether a client that asks for `/` is a browser.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// The page, or how to get it.
pub(super) fn page_or_how() -> Response {
    let nonce = Uuid::new_v4().simple().to_string();
    let page = Files::get("index.html")
        .and_then(|file| String::from_utf8(file.data.into_owned()).ok())
        .map(|page| page.replace(NONCE, &nonce));
    let status = if page.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let page = page.unwrap_or_else(|| LEFT_OUT.to_owned());
    let policy = format!(
        "default-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; \
         object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    let cache = "no-store".to_owned();
    let headers = [(header::CONTENT_SECURITY_POLICY, policy), (header::CACHE_CONTROL, cache)];
    (status, headers, HARDENED, Html(page)).into_response()
}

/// Sent with everything that a browser may show.
const HARDENED: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

const LEFT_OUT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
<title>Sluicegate</title><h1>The web console is not in this build</h1>\
<p>Build it with Node: <code>make console</code>, then the program again. \
Everything else works: <a href=\"/api/openapi.json\">the API</a>, <a href=\"/readyz\">health</a>, \
<a href=\"/metrics\">metrics</a>.</p></html>";

async fn asset(Path(path): Path<String>) -> Response {
    file(&format!("assets/{path}"), true)
}

fn file(path: &str, lasting: bool) -> Response {
    let Some(file) = Files::get(path) else { return StatusCode::NOT_FOUND.into_response() };
    let kind = file.metadata.mimetype().to_owned();
    let cache = if lasting { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache.to_owned())];
    (headers, HARDENED, file.data.into_owned()).into_response()
}
