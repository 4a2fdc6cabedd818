//! Coverage report to verdict: any format, exact, in one pass.

pub mod cli;
