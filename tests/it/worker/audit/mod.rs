//! The audit: what is recorded, when, and what happens when it can't be.

mod checkpoints;
mod drain;
mod events;
mod full;
mod modes;
mod outage;
mod overload;
mod sharing;
mod slow;
mod spill;
mod stream;
mod strict;
