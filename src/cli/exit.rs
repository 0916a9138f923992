//! Exit codes, documented in `sluicegate --help`.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; for `check` and `eval`: allowed.
    Ok,
    /// Something failed or was refused; for `test`: a test failed; for `audit verify`: not verified.
    Failed,
    /// `check` and `eval`: denied.
    Denied,
    /// The worker could not read the request; `test`: a suite can't be run.
    Refused,
    /// Nobody answered: no worker, or no server; with `--wait`: not in force everywhere.
    Unavailable,
    /// The command line is wrong (sysexits: EX_USAGE).
    Usage,
    /// The configuration is wrong (sysexits: EX_CONFIG).
    Config,
}

impl Exit {
    const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Denied => 2,
            Self::Refused => 3,
            Self::Unavailable => 4,
            Self::Usage => 64,
            Self::Config => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// What `--help` says of them.
pub(crate) const HELP: &str = "\
Exit codes:
  0   done; for `check` and `eval`: allowed
  1   failed, refused or not verified; for `test`: a test failed, or too little is covered
  2   `check` and `eval`: denied
  3   the worker could not read the request; `test`: a suite can't be run
  4   nobody answered: no worker, or no server; with --wait: not in force everywhere
  64  the command line is wrong
  78  the configuration is wrong
  130 ended at once by a second signal";
