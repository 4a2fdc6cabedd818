//! manifest-patch as its users meet it.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod pipeline;
mod support;
