//! `/api`: what the web console and other programs manage and look at.

mod audit;
mod decision;
mod events;
mod impact;
mod openapi;
mod policies;
mod query;
mod session;
mod stats;
mod suite;
mod trial;
mod versions;
mod violations;

use axum::Router;

pub use openapi::document;

use super::doors::Doors;

pub(super) fn routes() -> Router<Doors> {
    policies::routes()
        .merge(versions::routes())
        .merge(suite::routes())
        .merge(trial::routes())
        .merge(impact::routes())
        .merge(audit::routes())
        .merge(decision::routes())
        .merge(violations::routes())
        .merge(stats::routes())
        .merge(events::routes())
        .merge(session::routes())
        .merge(openapi::routes())
}
