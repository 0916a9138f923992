//! Policies' tests: the format of suites, and `sluicegate test`.

mod command;
mod docs;
mod format;
mod live;
mod mutation;
mod rules;
mod watch;
