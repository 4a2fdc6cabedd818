//! covgate, through its binary, on reports as the coverage tools write them.

#[path = "covgate/reports.rs"]
mod reports;

#[path = "covgate/gate.rs"]
mod gate;
