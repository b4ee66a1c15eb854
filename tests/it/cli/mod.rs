//! The binary as a process: what it prints, writes and answers, and how it ends.

mod check;
mod client;
mod healthcheck;
mod init;
mod log;
mod output;
mod serve;
mod settings;
mod token;
