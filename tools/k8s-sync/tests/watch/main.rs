//! The operator against a real API server: what it heals, what it shows, and what it survives.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod admission;
mod api;
mod application;
mod browser;
mod clusters;
mod decryption;
mod faults;
mod git_server;
mod manifests;
#[path = "../network/mod.rs"]
mod network;
mod operator;
mod page;
mod replicas;
mod scale;
mod soak;
mod webhooks;
mod world;
