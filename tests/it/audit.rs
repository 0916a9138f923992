//! The chain over the audit, and its verification, over real servers.

mod digests;
mod sealing;
mod verifying;
