//! WHERE clauses of the filters, with the values of their parameters beside them.

use chrono::{DateTime, Utc};
use clickhouse::query::Query;

use super::query::{Cursor, DecisionFilter, ViolationFilter};

/// The channel of a notification that acknowledges a violation.
pub const ACKNOWLEDGED: &str = "acknowledged";
/// Whether one of those who spoke of a violation acknowledged it.
const IS_ACKNOWLEDGED: &str = "arrayExists(said -> JSONExtractString(said, 'channel') = 'acknowledged', \
                            JSONExtractArrayRaw(notification_details))";
const NOT_ACKNOWLEDGED: &str = "NOT arrayExists(said -> JSONExtractString(said, 'channel') = 'acknowledged', \
                              JSONExtractArrayRaw(notification_details))";

/// Parts of a WHERE clause with the values for their parameters.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    parts: Vec<&'static str>,
    texts: Vec<(&'static str, String)>,
    times: Vec<(&'static str, i64)>,
}

impl Conditions {
    pub(super) fn since(&mut self, time: Option<DateTime<Utc>>) {
        self.time("since", "timestamp >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')", time);
    }

    pub(super) fn until(&mut self, time: Option<DateTime<Utc>>) {
        self.time("until", "timestamp < fromUnixTimestamp64Micro({until:Int64}, 'UTC')", time);
    }

    fn time(&mut self, name: &'static str, part: &'static str, time: Option<DateTime<Utc>>) {
        if let Some(time) = time {
            self.parts.push(part);
            self.times.push((name, time.timestamp_micros()));
        }
    }

    fn when(&mut self, part: &'static str, wanted: bool) {
        if wanted {
            self.parts.push(part);
        }
    }

    fn after(&mut self, cursor: Option<Cursor>) {
        let Some(Cursor { timestamp, id }) = cursor else { return };
        // The first part lets ClickHouse skip by the sort key, the second is exact.
        self.time(
            "after",
            "timestamp <= fromUnixTimestamp64Micro({after:Int64}, 'UTC') \
             AND (timestamp, id) < (fromUnixTimestamp64Micro({after:Int64}, 'UTC'), {after_id:UUID})",
            Some(timestamp),
        );
        self.texts.push(("after_id", id.to_string()));
    }

    fn text(&mut self, name: &'static str, part: &'static str, text: Option<&String>) {
        if let Some(text) = text {
            self.parts.push(part);
            self.texts.push((name, text.clone()));
        }
    }

    pub(super) fn sql(&self) -> String {
        if self.parts.is_empty() { "1".to_owned() } else { self.parts.join(" AND ") }
    }

    /// The same with the values in their places, for people to copy. Never run: values that the
    /// program asks with are always bound.
    pub(super) fn inlined(&self) -> String {
        let sql = self.sql();
        let (mut whole, mut rest) = (String::with_capacity(sql.len()), sql.as_str());
        // In one pass: a value may look like a parameter itself.
        while let Some((before, after)) = rest.split_once('{') {
            let Some((parameter, behind)) = after.split_once('}') else { break };
            whole.push_str(before);
            let name = parameter.split(':').next().unwrap_or_default();
            whole.push_str(&self.literal(name));
            rest = behind;
        }
        whole.push_str(rest);
        whole
    }

    /// A parameter's value as SQL.
    fn literal(&self, name: &str) -> String {
        let text = self.texts.iter().find(|(known, _)| *known == name);
        let time = self.times.iter().find(|(known, _)| *known == name);
        match (text, time) {
            (Some((_, text)), _) => {
                format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
            }
            (None, Some((_, time))) => time.to_string(),
            (None, None) => "NULL".to_owned(),
        }
    }

    pub(super) fn bind(self, mut query: Query) -> Query {
        for (name, text) in self.texts {
            query = query.param(name, text);
        }
        for (name, time) in self.times {
            query = query.param(name, time);
        }
        query
    }
}

pub(super) fn conditions_of_decisions(filter: &DecisionFilter) -> Conditions {
    let mut found = Conditions::default();
    found.since(filter.since);
    found.until(filter.until);
    found.text("decision", "decision = {decision:String}", filter.decision.as_ref());
    found.text("action", "action = {action:String}", filter.action.as_ref());
    found.text("agent", "agent = {agent:String}", filter.agent.as_ref());
    found.text("user", "user = {user:String}", filter.user.as_ref());
    found.text("session", "session_id = {session:String}", filter.session_id.as_ref());
    found.text("run", "run_id = {run:String}", filter.run_id.as_ref());
    found.text("project", "project_id = {project:String}", filter.project_id.as_ref());
    // `policies` holds name@version.
    found.text(
        "policy",
        "arrayExists(p -> startsWith(p, concat({policy:String}, '@')), policies)",
        filter.policy.as_ref(),
    );
    found.text("reason", "has(deny_reasons, {reason:String})", filter.reason.as_ref());
    found.when("error", filter.error_only);
    found.when("unchecked != ''", filter.unchecked_only);
    found.when("notEmpty(would_deny)", filter.shadow_only);
    found.text(
        "text",
        "arrayExists(t -> positionCaseInsensitiveUTF8(t, {text:String}) > 0, \
         [resource, decision_reason, action, agent])",
        filter.text.as_ref(),
    );
    found.text("id", "id = {id:UUID}", filter.id.map(|id| id.to_string()).as_ref());
    found.after(filter.after);
    found
}

/// What an outcome has of it: when, what, who and in which run.
pub(super) fn conditions_of_outcomes(filter: &DecisionFilter) -> Conditions {
    conditions_of_decisions(&DecisionFilter {
        decision: None,
        policy: None,
        reason: None,
        error_only: false,
        unchecked_only: false,
        shadow_only: false,
        text: None,
        id: None,
        after: None,
        ..filter.clone()
    })
}

pub(super) fn conditions_of_violations(filter: &ViolationFilter) -> Conditions {
    let mut found = Conditions::default();
    found.since(filter.since);
    found.until(filter.until);
    found.text("severity", "severity = {severity:String}", filter.severity.as_ref());
    found.text("policy", "policy_name = {policy:String}", filter.policy.as_ref());
    found.text("agent", "agent = {agent:String}", filter.agent.as_ref());
    found.text("user", "user = {user:String}", filter.user.as_ref());
    found.text("session", "session_id = {session:String}", filter.session_id.as_ref());
    let decision = filter.decision_id.map(|id| id.to_string());
    found.text("decision", "decision_id = {decision:UUID}", decision.as_ref());
    found.when("notified", filter.notified == Some(true));
    found.when("NOT notified", filter.notified == Some(false));
    found.when(IS_ACKNOWLEDGED, filter.acknowledged == Some(true));
    found.when(NOT_ACKNOWLEDGED, filter.acknowledged == Some(false));
    found.after(filter.after);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_never_enter_the_text_of_a_query() {
        let filter = DecisionFilter {
            agent: Some("'; DROP TABLE policy_decisions; --".into()),
            policy: Some("x".into()),
            error_only: true,
            ..DecisionFilter::default()
        };
        let conditions = conditions_of_decisions(&filter);
        assert_eq!(
            conditions.sql(),
            "agent = {agent:String} AND \
             arrayExists(p -> startsWith(p, concat({policy:String}, '@')), policies) AND error"
        );
        assert_eq!(conditions_of_decisions(&DecisionFilter::default()).sql(), "1");
        assert!(
            conditions.inlined().starts_with("agent = '\\'; DROP TABLE policy_decisions; --' AND"),
            "{}",
            conditions.inlined()
        );
    }

    #[test]
    fn a_value_that_looks_like_a_parameter_stays_a_value() {
        let filter = DecisionFilter {
            since: Some(DateTime::UNIX_EPOCH),
            agent: Some("' OR 1 = 1 --".into()),
            text: Some("{agent:String}".into()),
            ..DecisionFilter::default()
        };
        let sql = conditions_of_decisions(&filter).inlined();
        assert!(sql.contains("positionCaseInsensitiveUTF8(t, '{agent:String}')"), "{sql}");
        assert!(sql.contains("fromUnixTimestamp64Micro(0, 'UTC')"), "{sql}");
        assert!(sql.contains(r"agent = '\' OR 1 = 1 --'"), "{sql}");
    }
}
