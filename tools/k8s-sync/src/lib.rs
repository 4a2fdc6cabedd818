//! Manifests in Git to cluster.

pub mod cli;
