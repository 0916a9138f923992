//! The API as an OpenAPI document, made of the types that it speaks.
//!
//! Format: <https://spec.openapis.org/oas/v3.1.1.html>, whose schemas are JSON Schema 2020-12.

use axum::routing::get;
use axum::{Json, Router};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::audit::{AuditFilter, DecisionItems};
use super::decision::{DecisionDetail, Explanation};
use super::events::Watched;
use super::impact::{Impact, Proposal};
use super::policies::{Changed, PolicyFilter, PolicyItems};
use super::session::{Session, SignIn};
use super::stats::Span;
use super::suite::{Suites, SuitesReport};
use super::trial::{Candidate, Validated};
use super::versions::{Compared, GoBack};
use super::violations::{Acknowledged, Acknowledgement, ViolationItems, Wanted};
use crate::contract::admin::{DiffReply, EnforcementReply, PolicyDraft, PolicyView, VersionList};
use crate::contract::{EvaluateReply, EvaluateRequest};
use crate::roles::console::doors::Doors;
use crate::roles::console::enforcement::Turn;
use crate::roles::console::problem::Details;
use crate::store::Overview;

pub(super) fn routes() -> Router<Doors> {
    Router::new().route("/api/openapi.json", get(async || Json(document())))
}

/// The whole document.
#[must_use]
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut spec = Spec { generator: settings.into_generator(), paths: Map::new() };
    spec.policies();
    spec.history();
    spec.others();
    let Spec { mut generator, paths } = spec;
    let problem = generator.subschema_for::<Details>();
    let mut schemas = generator.take_definitions(true);
    schemas.entry("Problem").or_insert(problem.to_value());
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Sluicegate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Manages policies and looks at the history. Errors are problem details \
                (RFC 9457). Roles, each may what those before may: checker, viewer, author, admin.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"session": []}, {}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "sluicegate_session",
                    "description": "Changes also need the header X-Sluicegate-Console: 1"},
            },
            "responses": {
                "Problem": {
                    "description": "What is wrong, and the way out",
                    "content": {"application/problem+json": {
                        "schema": {"$ref": "#/components/schemas/Problem"}}},
                },
            },
        },
    })
}

/// The paths so far.
struct Spec {
    generator: SchemaGenerator,
    paths: Map<String, Value>,
}

/// What an operation answers.
enum Answers {
    Json(Value),
    Other(&'static str),
}

impl Spec {
    fn policies(&mut self) {
        let view = self.of::<PolicyView>();
        let changed = self.of::<Changed>();
        let comment = json!({"type": "object", "properties": {"comment": {"type": "string"}}});
        let draft = self.of::<PolicyDraft>();

        let answer = self.of::<PolicyItems>();
        let query = self.query::<PolicyFilter>();
        self.add("get", "/api/policies", "viewer", "Policies by name", query, None, answer);
        let path = "/api/policies";
        self.add(
            "post",
            path,
            "author",
            "Make a policy",
            vec![],
            Some(draft.clone()),
            changed.clone(),
        );
        let one = "/api/policies/{policy}";
        self.add("get", one, "viewer", "One policy with its Rego", vec![], None, view.clone());
        let body = Some(draft.clone());
        self.add(
            "patch",
            one,
            "author",
            "Change some members of a policy",
            vec![],
            body,
            changed.clone(),
        );
        let body = Some(draft);
        self.add("put", one, "author", "Replace a policy", vec![], body, changed.clone());
        let body = Some(comment);
        self.add(
            "delete",
            one,
            "author",
            "Delete a policy; its versions stay",
            vec![],
            body,
            changed.clone(),
        );

        let answer = self.of::<VersionList>();
        let path = "/api/policies/{policy}/versions";
        self.add("get", path, "viewer", "Versions, newest first", vec![], None, answer);
        let path = "/api/policies/{policy}/versions/{version}";
        self.add("get", path, "viewer", "One version", vec![], None, view);
        let (query, answer) = (self.query::<Compared>(), self.of::<DiffReply>());
        let path = "/api/policies/{policy}/diff";
        self.add("get", path, "viewer", "Two versions side by side", query, None, answer);
        let body = Some(self.of::<GoBack>());
        let path = "/api/policies/{policy}/rollback";
        self.add("post", path, "author", "Make an older version the newest", vec![], body, changed);

        let (body, answer) = (Some(self.of::<Candidate>()), self.of::<Validated>());
        let path = "/api/policies/validate";
        self.add("post", path, "author", "Look at Rego without storing it", vec![], body, answer);
        let (body, answer) = (Some(self.of::<EvaluateRequest>()), self.of::<EvaluateReply>());
        let path = "/api/policies/{policy}/test";
        self.add("post", path, "author", "Try a policy on an input", vec![], body, answer);
        let (body, answer) = (Some(self.of::<Suites>()), self.of::<SuitesReport>());
        let path = "/api/policies/{policy}/suite";
        self.add("post", path, "author", "Run a policy's suites", vec![], body, answer);
        let (body, answer) = (Some(self.of::<Proposal>()), self.of::<Impact>());
        let path = "/api/policies/{policy}/impact";
        self.add("post", path, "author", "What it would have denied lately", vec![], body, answer);
    }

    fn history(&mut self) {
        let (query, answer) = (self.query::<AuditFilter>(), self.of::<DecisionItems>());
        let path = "/api/policies/decisions/audit";
        self.add("get", path, "viewer", "Decisions, newest first", query, None, answer);
        let query = self.query::<AuditFilter>();
        let file = Answers::Other("application/octet-stream");
        let path = "/api/decisions/export";
        self.add("get", path, "viewer", "Decisions as a file, oldest first", query, None, file);
        let answer = self.of::<DecisionDetail>();
        let path = "/api/decisions/{id}";
        self.add("get", path, "viewer", "One decision", vec![], None, answer);
        let answer = self.of::<Explanation>();
        let path = "/api/decisions/{id}/explain";
        self.add("get", path, "viewer", "Why it was made", vec![], None, answer);
        let query = self.query::<Watched>();
        let stream = Answers::Other("text/event-stream");
        self.add("get", "/api/events", "viewer", "Live events", query, None, stream);
        let (query, answer) = (self.query::<Wanted>(), self.of::<ViolationItems>());
        let path = "/api/violations";
        self.add("get", path, "viewer", "Violations, newest first", query, None, answer);
        let (body, answer) = (Some(self.of::<Acknowledgement>()), self.of::<Acknowledged>());
        let path = "/api/violations/{id}/acknowledge";
        self.add("post", path, "author", "Say that it needs nobody any more", vec![], body, answer);
    }

    fn others(&mut self) {
        let (query, answer) = (self.query::<Span>(), self.of::<Overview>());
        let path = "/api/stats/overview";
        self.add("get", path, "viewer", "A span of time at a glance", query, None, answer);
        let path = "/api/stats/fleet";
        let answer = json!({"type": "object", "description": "As `sluicegate status --json`"});
        self.add("get", path, "viewer", "How the whole system stands", vec![], None, answer);
        let answer = self.of::<EnforcementReply>();
        let path = "/api/enforcement";
        self.add(
            "get",
            path,
            "viewer",
            "The switch for all policies",
            vec![],
            None,
            answer.clone(),
        );
        let body = Some(self.of::<Turn>());
        self.add("put", path, "admin", "Turn it", vec![], body, answer);
        let session = self.of::<Session>();
        let path = "/api/session";
        self.add("get", path, "", "Who calls", vec![], None, session.clone());
        let body = Some(self.of::<SignIn>());
        self.add("post", path, "", "Sign in with a token", vec![], body, session.clone());
        self.add("delete", path, "", "Sign out", vec![], None, session);
        let answer = json!({"type": "object"});
        self.add("get", "/api/openapi.json", "", "This document", vec![], None, answer);
    }

    fn of<T: JsonSchema>(&mut self) -> Value {
        self.generator.subschema_for::<T>().to_value()
    }

    /// The members of a type as query parameters.
    fn query<T: JsonSchema>(&mut self) -> Vec<Value> {
        let schema = self.generator.root_schema_for::<T>().to_value();
        let members = schema.get("properties").and_then(Value::as_object).cloned();
        let parameter = |(name, mut schema): (String, Value)| {
            let description = schema
                .as_object_mut()
                .and_then(|schema| schema.remove("description"))
                .unwrap_or_default();
            json!({"name": name, "in": "query", "description": description, "schema": schema})
        };
        members.unwrap_or_default().into_iter().map(parameter).collect()
    }

    #[expect(clippy::too_many_arguments, reason = "one line of a table")]
    fn add(
        &mut self,
        method: &str,
        path: &str,
        role: &str,
        summary: &str,
        mut parameters: Vec<Value>,
        body: Option<Value>,
        answer: impl Into<Answers>,
    ) {
        let in_path = path.split('/').filter_map(|part| {
            let name = part.strip_prefix('{')?.strip_suffix('}')?;
            Some(
                json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}),
            )
        });
        parameters.extend(in_path);
        let (status, content) = match answer.into() {
            Answers::Json(schema) => ("200", json!({"application/json": {"schema": schema}})),
            Answers::Other(kind) => ("200", json!({kind: {"schema": {"type": "string"}}})),
        };
        let status = if method == "post" && path == "/api/policies" { "201" } else { status };
        let mut operation = json!({
            "summary": summary,
            "description": if role.is_empty() { "Open.".into() } else { format!("Role: {role}.") },
            "parameters": parameters,
            "responses": {
                status: {"description": summary, "content": content},
                "default": {"$ref": "#/components/responses/Problem"},
            },
        });
        if let (Some(schema), Some(operation)) = (body, operation.as_object_mut()) {
            let content = json!({"application/json": {"schema": schema}});
            operation.insert("requestBody".into(), json!({"content": content}));
        }
        let methods = self.paths.entry(path).or_insert_with(|| json!({}));
        if let Some(methods) = methods.as_object_mut() {
            methods.insert(method.to_owned(), operation);
        }
    }
}

impl From<Value> for Answers {
    fn from(schema: Value) -> Self {
        Self::Json(schema)
    }
}
