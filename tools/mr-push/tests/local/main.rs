//! Changes delivered to a repository on this machine, whose hook plays the forge.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod checkout;
mod clone;
mod delivery;
mod server;
