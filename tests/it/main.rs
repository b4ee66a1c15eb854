//! What the service promises, asked over real connections.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, unreachable_pub, reason = "a test may fail so")]

mod app;
mod attacks;
mod cli;
mod create;
mod delegated;
mod documents;
mod dpop;
mod errors;
mod exchange;
mod federation;
mod fetched;
mod folder;
mod foreign;
mod forge;
mod guesses;
mod home;
mod include;
mod inspect;
mod laws;
mod limits;
mod mtls;
mod narrowing;
mod oauth2;
mod openapi;
mod public;
mod refresh;
mod reload;
mod revocation;
mod rotation;
mod settings;
mod telemetry;
mod transport;
mod vectors;
