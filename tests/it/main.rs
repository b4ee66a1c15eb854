//! What the service promises, asked over real connections.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, unreachable_pub, reason = "a test may fail so")]

mod app;
mod cli;
mod create;
mod folder;
mod openapi;
mod settings;
