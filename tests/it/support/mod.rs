//! What the integration tests share.

pub(crate) mod cluster;
pub(crate) mod cut;
pub(crate) mod documents;
pub(crate) mod servers;
