//! Coverage report to verdict: exact, and never from a rounded percentage.
//!
//! A report is found and read ([`report`]), its counts come out of its format ([`format`]), and integers
//! are compared with the threshold ([`verdict`]).

pub mod cli;
pub mod error;
pub mod format;
pub mod report;
pub mod verdict;
