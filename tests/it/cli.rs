//! The command line: exit codes, output, help.

mod apply;
mod check;
mod demo;
mod enforcement;
mod explain;
mod export;
mod help;
mod manage;
mod policy;
mod status;
mod tail;
mod trial;
