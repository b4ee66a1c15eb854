//! lingpai (令牌): a stateless signed-token service.
//!
//! It issues self-contained JWTs that carry expiry and scope, checks them
//! without storage, and refreshes them. Replicas share a configuration file and
//! a folder of keys, and nothing else.
//!
//! The rooms. Imports only point down:
//!
//! | room | owns |
//! | --- | --- |
//! | [`cli`] | the command line: parse, call, print |
//! | [`app`] | the composition root: turns a configuration into a running service, and reloads it |
//! | [`server`] | the transport: connections, time-outs, shutdown |
//! | [`http`] | poem: the dialects, wire types, errors, the specification |
//! | [`grants`] | one file per grant: what to issue |
//! | [`service`] | what every dialect shares: state, snapshot, authenticate, issue, inspect |
//! | [`federation`] | trusted issuers: their rules, where their keys come from |
//! | [`clients`] | who may request what: registry, credentials, policy |
//! | [`revocation`] | the revocation list: grammar, lookup |
//! | [`foreign`] | tokens that others signed: their form, their issuers' keys |
//! | [`config`] | settings: turns file and environment into typed values |
//! | [`token`] | the domain: claims, scope, mint, verify, sessions |
//! | [`keys`] | private keys: files, schedule, rotation, signatures, JWKS |
//! | [`telemetry`] | the log and the metrics |
//! | [`fetch`] | one HTTP exchange as a client |
//! | [`crypto`] | the signing crate, digests, random bytes |
//! | [`files`] | bounded reads, atomic writes |
//! | [`peer`] | what a connection proves about its peer |
//! | [`clock`] | the only reader of the system clock |
//!
//! `POST /token`: `http::native` decodes → `service` authenticates → `grants::native_create` decides
//! by `clients::policy` → `service` limits, mints and records → `http::native` encodes.
//! `GET /token`: `service` looks up the token, or verifies it.
//! `PUT /token`: `grants::native_refresh` verifies the refresh token and looks up its client again.

pub mod app;
pub mod cli;
pub mod clients;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod federation;
pub mod fetch;
pub mod files;
pub mod foreign;
pub mod grants;
pub mod http;
pub mod keys;
pub mod peer;
pub mod revocation;
pub mod server;
pub mod service;
pub mod telemetry;
pub mod token;
