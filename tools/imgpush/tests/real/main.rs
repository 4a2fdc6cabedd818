//! Against real engines and registries: what is pushed is pulled, unpacked and run again.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on has failed")]

mod desk;
mod faults;
mod images;
mod login;
mod services;
