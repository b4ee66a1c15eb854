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
//! | [`foreign`] | tokens that others signed: their form, their issuers' keys |
//! | [`clients`] | who may ask for what: registry, secrets, policy |
//! | [`token`] | the domain: claims, scope, mint, verify, sessions |
//! | [`keys`] | private keys: files, schedule, rotation, signatures, JWKS |
//! | [`config`] | settings: file and environment become typed parts |
//! | [`telemetry`] | the log and the metrics |
//! | [`clock`] | the time, which everything else is told |
//!
//! `POST /token` goes `http::native` → `clients::decide` → `token::mint`;
//! `GET /token` goes `token::verify`; `PUT /token` goes `token::verify` →
//! `clients::renew` → `token::mint`.

pub mod app;
pub mod cli;
pub mod clients;
pub mod clock;
pub mod config;
pub mod foreign;
pub mod http;
pub mod keys;
pub mod server;
pub mod telemetry;
pub mod token;
