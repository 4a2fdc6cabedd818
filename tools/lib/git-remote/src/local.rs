//! A repository on this machine, served by the `git` program as git itself does it.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::RemoteError;
use crate::transport::{Service, Transport, complaint};

/// Variables that would make the server's git look at a repository of the caller's.
const CALLERS: [&str; 6] =
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE"];

pub(crate) struct LocalTransport {
    path: PathBuf,
    server: String,
    running: Vec<(Service, Child)>,
}

impl LocalTransport {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), server: path.display().to_string(), running: Vec::new() }
    }

    fn child(&mut self, service: Service) -> Result<&mut Child, RemoteError> {
        let found = self.running.iter_mut().rev().find(|(running, _)| *running == service);
        found
            .map(|(_, child)| child)
            .ok_or_else(|| RemoteError::protocol(&self.server, "nothing was started"))
    }

    fn broken(&self, source: io::Error) -> RemoteError {
        let action = "can't run git";
        RemoteError::Network { server: self.server.clone(), action, source }
    }
}

impl Transport for LocalTransport {
    fn greet(&mut self, service: Service) -> Result<Box<dyn Read + '_>, RemoteError> {
        let mut command = Command::new("git");
        command.arg(service.name().trim_start_matches("git-")).arg(&self.path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for variable in CALLERS {
            command.env_remove(variable);
        }
        if let Some(protocol) = service.protocol() {
            command.env("GIT_PROTOCOL", protocol);
        }
        let child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                let reason =
                    "a repository on this machine is served by the `git` program, which is not there";
                RemoteError::Refused { server: self.server.clone(), reason: reason.to_owned() }
            }
            _ => self.broken(error),
        })?;
        self.running.push((service, child));
        self.ask(service, &[])
    }

    fn ask(&mut self, service: Service, request: &[u8]) -> Result<Box<dyn Read + '_>, RemoteError> {
        let child = self.child(service)?;
        let sent = child.stdin.as_mut().map_or(Ok(()), |stdin| stdin.write_all(request));
        if let Err(error) = sent {
            return Err(self.last_words(service, error));
        }
        let server = self.server.clone();
        match self.child(service)?.stdout.as_mut() {
            Some(stdout) => Ok(Box::new(stdout)),
            None => Err(RemoteError::protocol(&server, "it has ended")),
        }
    }

    fn is_stateless(&self) -> bool {
        false
    }

    fn server(&self) -> &str {
        &self.server
    }

    fn last_words(&mut self, service: Service, error: io::Error) -> RemoteError {
        let mut words = String::new();
        if let Ok(child) = self.child(service) {
            drop(child.stdin.take());
            if let Some(mut stderr) = child.stderr.take() {
                // Words that are not text say nothing.
                let _ = stderr.read_to_string(&mut words);
            }
        }
        if words.trim().is_empty() { self.broken(error) } else { complaint(&self.server, &words) }
    }
}

impl Drop for LocalTransport {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            // A service that waits for a request ends when its input does.
            drop(child.stdin.take());
            drop(child.stdout.take());
            let _ = child.wait();
        }
    }
}
