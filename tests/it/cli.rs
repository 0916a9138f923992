//! The command line: exit codes, output, help.

mod apply;
mod check;
mod enforcement;
mod explain;
mod help;
mod manage;
mod policy;
mod tail;
mod trial;
