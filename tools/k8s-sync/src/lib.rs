//! Manifests in Git to cluster: diffed, applied, pruned, waited for and kept that way.
//!
//! A source ([`source`]) yields manifests ([`manifest`]), decrypted where they have to be ([`decryption`]), which are put in order ([`order`]) and held against the
//! cluster ([`plan`]): what is proved to be as wanted ([`proof`]) is left alone, the rest is tried out ([`rehearsal`])
//! and applied ([`sync`]) as the members of an ApplySet ([`inventory`]). Health ([`health`]) is read off the objects
//! as the cluster reports them; [`watch`] does it all again whenever Git or the cluster moves.

pub mod admission;
pub mod altered;
pub mod application;
pub mod cli;
pub mod cluster;
pub mod conflicts;
pub mod decryption;
pub mod diff;
pub mod error;
pub mod evidence;
pub mod fields;
pub mod health;
pub mod hook;
pub mod ignore;
pub mod inventory;
mod jq;
pub mod manifest;
pub mod observe;
pub mod options;
pub mod order;
mod ownership;
pub mod packed;
pub mod plan;
pub mod plan_file;
pub mod project;
pub mod proof;
pub mod rehearsal;
pub mod report;
pub mod reports;
pub mod rollback;
mod run;
pub mod source;
pub mod stages;
pub mod standing;
pub mod sync;
pub mod wait;
pub mod watch;
pub mod yaml;
