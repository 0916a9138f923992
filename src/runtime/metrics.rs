//! stub
pub mod names {
    //! stub
    pub const SLOW_CONSUMER: &str = "sluicegate_slow_consumer_total";
    pub const AUDIT_ACKNOWLEDGE: &str = "sluicegate_audit_acknowledge_seconds";
    pub const AUDIT_PENDING: &str = "sluicegate_audit_pending";
    pub const AUDIT_PUBLISH_FAILURES: &str = "sluicegate_audit_publish_failures_total";
    pub const AUDIT_DUPLICATES: &str = "sluicegate_audit_duplicates_total";
}
