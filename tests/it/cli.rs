//! The command line: exit codes, output, help.

mod check;
mod help;
mod tail;
