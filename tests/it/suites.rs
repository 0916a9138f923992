//! Policies' tests: the format of suites, and `sluicegate test`.

mod command;
mod format;
mod watch;
