//! The chain over the audit, and its verification, over real servers.

mod command;
mod digests;
mod sealing;
mod verifying;
