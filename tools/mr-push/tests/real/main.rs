//! Against real servers: openssh-server and HTTPS before repositories that answer as GitLab does, and Gitea.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod faults;
mod gitea;
mod github;
mod gitlab;
mod https;
mod project;
mod ssh;
