//! stub
use super::exit::Exit;
use crate::config::Config;
use clap::Subcommand;
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// x
    Check,
}
pub(crate) async fn run(_c: Bench, _config: &Config, _json: bool) -> anyhow::Result<Exit> {
    Ok(Exit::Ok)
}
