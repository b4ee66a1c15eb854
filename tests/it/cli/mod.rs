//! The binary as a process: what it prints, writes and answers, and how it ends.

mod check;
mod client;
mod clients;
mod explain;
mod explain_token;
mod get;
mod healthcheck;
mod include;
mod init;
mod issuers;
mod log;
mod output;
mod revoke;
mod serve;
mod settings;
mod suggest;
mod token;
