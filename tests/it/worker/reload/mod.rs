//! The folder of policies: changes while running, policies that are wrong or hostile, usage.

mod changes;
mod hostile;
mod usage;
mod wrong;
