//! Image reference to Kubernetes manifest: only the value's bytes change.
//!
//! A value is located by a parser that says which bytes it was read from, those bytes are replaced,
//! and the result is read again, by that parser and by another one, before anything is written.
//! Whatever is not the value is never written anew, so it can't change.

pub mod actions;
pub mod cli;
pub mod explain;
pub mod expression;
pub mod files;
pub mod finder;
pub mod gate;
pub mod images;
pub mod lock;
pub mod markers;
pub mod meaning;
pub mod parallel;
pub mod patch;
pub mod path;
pub mod piece;
pub mod places;
pub mod position;
pub mod prefilter;
pub mod references;
pub mod refusal;
pub mod replace;
pub mod report;
pub mod run;
pub mod search;
pub mod select;
pub mod template;
pub mod verify;
pub mod yaml;
