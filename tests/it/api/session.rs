//! Signing in, roles, and what a browser may do.

use reqwest::Method;
use serde_json::{Value, json};

use crate::doors::support::{House, SECRET, Said};
use crate::worker::support::Fleet;

async fn with_cookie(
    house: &House,
    method: Method,
    path: &str,
    cookie: &str,
    header: bool,
) -> Said {
    let mut request =
        house.request(method, path).header("cookie", cookie).json(&json!({"status": "active"}));
    if header {
        request = request.header("x-sluicegate-console", "1");
    }
    Said::of(request).await
}

#[tokio::test]
async fn signing_in_and_out() {
    let fleet = Fleet::with_shipped("");
    let (_worker, _agent, _) = fleet.start().await;
    let house = House::with_tokens(&fleet.config).await;
    let session = house.get("/api/session").await.json(200);
    assert_eq!((&session["signed_in"], &session["role"]), (&json!(false), &Value::Null));
    assert_eq!((&session["tokens"], &session["loopback"]), (&json!(true), &json!(true)));
    assert_eq!(house.get("/api/policies").await.status, 401);

    assert_eq!(
        house.post("/api/session", json!({"token": "wrong"})).await.json(401)["status"],
        401
    );
    assert_eq!(house.post("/api/session", json!({})).await.json(400)["status"], 400);
    let said = house.post("/api/session", json!({"token": format!("viewer{SECRET}")})).await;
    let set = said.header("set-cookie").to_owned();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
    assert!(!set.contains(SECRET), "the cookie is not the token");
    let said = said.json(200);
    assert_eq!((&said["name"], &said["role"]), (&json!("the-viewer"), &json!("viewer")));
    let cookie = set.split(';').next().unwrap().to_owned();

    let read = with_cookie(&house, Method::GET, "/api/policies", &cookie, false).await;
    assert_eq!(read.status, 200);
    let path = "/api/policies/cost_control";
    let change = with_cookie(&house, Method::PATCH, path, &cookie, true).await;
    assert_eq!(change.json(403)["status"], 403, "a viewer changes nothing");

    let said = house.post("/api/session", json!({"token": format!("author{SECRET}")})).await;
    let author = said.header("set-cookie").split(';').next().unwrap().to_owned();
    let forged = with_cookie(&house, Method::PATCH, path, &author, false).await;
    assert!(forged.json(403)["detail"].as_str().unwrap().contains("x-sluicegate-console"));
    let changed = with_cookie(&house, Method::PATCH, path, &author, true).await.json(200);
    assert_eq!(changed["policy"]["updated_by"], "the-author", "every change has its author");
    let switch = with_cookie(&house, Method::PUT, "/api/enforcement", &author, true).await;
    assert_eq!(switch.status, 403, "the switch is an admin's");

    let out = with_cookie(&house, Method::DELETE, "/api/session", &cookie, true).await;
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(out.json(200)["signed_in"], false);
    let read = with_cookie(&house, Method::GET, "/api/policies", &cookie, false).await;
    assert_eq!(read.status, 401, "the session has ended");
    assert_eq!(with_cookie(&house, Method::GET, "/api/policies", &author, false).await.status, 200);
    let nobody =
        with_cookie(&house, Method::GET, "/api/policies", "sluicegate_session=x", false).await;
    assert_eq!(nobody.status, 401);
}

#[tokio::test]
async fn signing_in_is_no_way_to_try_tokens() {
    let fleet = Fleet::with_shipped("");
    let mut config = fleet.config.clone();
    (config.http.rate_limit, config.http.rate_burst) = (1, 5);
    let house = House::with_tokens(&config).await;
    let mut codes = Vec::new();
    for _ in 0..8 {
        codes.push(
            house.post("/api/session", json!({"token": "a-guess-of-some-length"})).await.status,
        );
    }
    assert!(codes.contains(&429), "{codes:?}");
}

#[tokio::test]
async fn pages_come_with_their_protection_and_without_a_token() {
    let fleet = Fleet::with_shipped("");
    let house = House::with_tokens(&fleet.config).await;
    for path in ["/", "/policies", "/policies/cost_control", "/audit", "/signin"] {
        let page =
            Said::of(house.request(Method::GET, path).header("accept", "text/html,*/*")).await;
        assert!([200, 404].contains(&page.status), "{page:?}");
        assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
        let policy = page.header("content-security-policy");
        assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert!(!page.text.contains("__CSP_NONCE__"));
        if page.status == 404 {
            assert!(page.text.contains("make console"), "{}", page.text);
        }
    }
    let index =
        Said::of(house.request(Method::GET, "/").header("accept", "application/json")).await;
    assert_eq!(index.json(200)["api"], "/api/openapi.json");
    assert_eq!(house.get("/assets/none.js").await.status, 404);
    let open = House::open(&fleet.config).await;
    let wrong = Said::of(open.request(Method::GET, "/polices").header("accept", "text/html")).await;
    assert_eq!(wrong.status, 404);
    assert!(wrong.header("content-type").starts_with("text/html"), "people get a page");
    for path in ["/api/polices", "/v1/other", "/access/v1/other"] {
        let wrong = Said::of(open.request(Method::GET, path).header("accept", "text/html")).await;
        assert!(!wrong.header("content-type").contains("html"), "what programs ask: {path}");
    }
    assert!(open.get("/polices").await.text.contains("lists what there is"), "programs get JSON");
    assert_eq!(house.get("/assets/..%2F..%2FCargo.toml").await.status, 404);
}
