//! manifest-patch as its users meet it.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod gate;
mod outputs;
mod pipeline;
mod refusals;
mod selection;
mod support;
