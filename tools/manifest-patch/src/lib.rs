//! Image reference to Kubernetes manifest: only the value's bytes change.

pub mod cli;
