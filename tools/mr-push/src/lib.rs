//! Change to branch, commit and merge request.

pub mod cli;
