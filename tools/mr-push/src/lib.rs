//! Change to branch, commit and merge request.
//!
//! [`cli`] reads the arguments and the environment. [`delivery`] is the story: connect, look at the
//! refs, refuse what can't work, fetch what is needed ([`checkout`]), let the change happen
//! ([`command`] or [`local_clone`]), and make one commit of it ([`tree`], [`commit`]). [`request`] is its
//! end: push it, and see to it that the merge request is there ([`forge`]).

pub mod checkout;
pub mod cli;
pub mod command;
pub mod commit;
pub mod delivery;
pub mod forge;
pub mod job;
pub mod lfs;
pub mod local_clone;
pub mod outcome;
pub mod preflight;
pub mod request;
pub mod signing;
pub mod store;
pub mod tree;
