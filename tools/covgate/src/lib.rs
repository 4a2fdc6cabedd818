//! Coverage report to verdict: any format, exact, in one pass.
//!
//! A report is read as it streams by (`input`, `format`) into a union of files and lines (`coverage`,
//! `report`); its files are found in the work tree (`checkout`, `path`), its header is held against its body
//! (`audit`), and integers are compared with the thresholds (`verdict`, `rule`, `per_file`, `diff`) by the
//! `gate`. What was found is written by `output`, others' text in it as [`step::printable`] has it.

pub mod audit;
pub mod checkout;
pub mod cli;
pub mod coverage;
pub mod diff;
pub mod error;
pub mod format;
pub mod gate;
pub mod input;
pub mod output;
pub mod patch;
pub mod path;
pub mod per_file;
pub mod report;
pub mod rule;
pub mod verdict;
