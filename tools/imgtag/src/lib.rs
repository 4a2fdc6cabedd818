//! Commit to image tag: the one tag that every job of a pipeline computes alike.

pub mod cli;
