//! lingpai (令牌): a stateless signed-token service.
//!
//! It issues self-contained JWTs that carry expiry and scope, checks them
//! without storage, and refreshes them. Replicas share a configuration file and
//! a folder of keys, and nothing else.
//!
//! A map of the rooms. Arrows only point down:
//!
//! | room | owns |
//! | --- | --- |
//! | [`cli`] | the command line: parse, call, print |
//! | [`app`] | the composition root: a configuration becomes what runs, and again when files change |
//! | [`server`] | the transport: connections, time-outs, the end of the process |
//! | [`http`] | poem: the dialects, wire types, errors, the specification |
//! | [`grants`] | one file per grant: what to issue |
//! | [`service`] | what every dialect does: state, snapshot, authenticate, issue, inspect |
//! | [`federation`] | who else is believed: issuers, rules, where their keys come from |
//! | [`clients`] | who may ask for what: registry, credentials, policy |
//! | [`revocation`] | the list of what has ended before its time: grammar, look-up |
//! | [`foreign`] | tokens that others signed: their form, their issuers' keys |
//! | [`config`] | settings: file and environment become typed parts |
//! | [`token`] | the domain: claims, scope, mint, verify, sessions |
//! | [`keys`] | private keys: files, schedule, rotation, signatures, JWKS |
//! | [`telemetry`] | the log and the metrics |
//! | [`fetch`] | one HTTP exchange as a client |
//! | [`crypto`] | the crate that signs, digests, random bytes |
//! | [`files`] | bounded reads, atomic writes |
//! | [`peer`] | what a connection proves of its other end |
//! | [`clock`] | the time, which everything else is told |
//!
//! `POST /token`: `http::native` decodes → `service` authenticates → `grants::native_create` decides
//! by `clients::policy` → `service` limits, mints and records → `http::native` encodes.
//! `GET /token`: `service` looks the token up or verifies it.
//! `PUT /token`: `grants::native_refresh` verifies the refresh token and looks at its client again.

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
