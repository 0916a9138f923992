//! The chain over the audit, and its verification, over real servers.

mod command;
mod digests;
mod holes;
mod sealing;
mod takeback;
mod verifying;
