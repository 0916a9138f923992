//! The policies in force: how the bucket is filled, changes while running, many who change, what
//! is done by hand, hostile policies, usage.

mod bounds;
mod by_hand;
mod changes;
mod firm;
mod hostile;
mod races;
mod reconnect;
mod switch;
mod usage;
mod versions;
mod wrong;
