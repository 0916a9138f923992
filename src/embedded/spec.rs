//! What the supervisor needs to know of a server.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::error::Setting;
use super::output::Dialect;
use super::probe::Probe;

/// One server: how to start it, how to know it and how to ask it.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    /// Its name in messages and in the health.
    pub(super) server: &'static str,
    /// The program.
    pub(super) program: PathBuf,
    /// Its arguments; one of them is the marker.
    pub(super) arguments: Vec<OsString>,
    /// What is added to the environment; secrets travel here.
    pub(super) environment: Vec<(&'static str, OsString)>,
    /// The folder it runs in.
    pub(super) folder: PathBuf,
    /// The argument by which its process is known to be ours.
    pub(super) marker: String,
    /// How it marks the levels of its lines.
    pub(super) dialect: Dialect,
    /// How to ask whether it is ready.
    pub(super) probe: Probe,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// The setting that says where it listens.
    pub(super) setting: Setting,
}
