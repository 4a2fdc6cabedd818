//! The operator against a real API server: what it heals, what it shows, and what it survives.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod faults;
mod operator;
mod page;
mod replicas;
mod world;
