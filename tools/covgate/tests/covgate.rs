//! covgate, through its binary, on reports as the coverage tools write them.
#![allow(clippy::unwrap_used, reason = "a test that has no file can't go on")]

#[path = "covgate/reports.rs"]
mod reports;

#[path = "covgate/checkout.rs"]
mod checkout;

#[path = "covgate/comparisons.rs"]
mod comparisons;

#[path = "covgate/formats.rs"]
mod formats;

#[path = "covgate/gate.rs"]
mod gate;
