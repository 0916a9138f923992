//! stub
pub mod names {
    //! stub
    #![allow(missing_docs)]
    pub const SLOW_CONSUMER: &str = "sluicegate_slow_consumer_total";
    pub const AUDIT_ACKNOWLEDGE: &str = "sluicegate_audit_acknowledge_seconds";
    pub const AUDIT_PENDING: &str = "sluicegate_audit_pending";
    pub const AUDIT_PUBLISH_FAILURES: &str = "sluicegate_audit_publish_failures_total";
    pub const AUDIT_DUPLICATES: &str = "sluicegate_audit_duplicates_total";
    pub const CHECKS: &str = "sluicegate_checks_total";
    pub const POLICY_DECISIONS: &str = "sluicegate_policy_decisions_total";
    pub const CHECK_DURATION: &str = "sluicegate_check_duration_seconds";
    pub const EVALUATION_DURATION: &str = "sluicegate_evaluation_duration_seconds";
    pub const AUDIT_IN_FLIGHT: &str = "sluicegate_audit_in_flight";
    pub const FAIL_OPEN: &str = "sluicegate_fail_open_total";
    pub const POLICY_RELOADS: &str = "sluicegate_policy_reloads_total";
    pub const POLICIES_ACTIVE: &str = "sluicegate_policies_active";
}
