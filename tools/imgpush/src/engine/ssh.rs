//! An engine behind SSH, as the docker client reaches it: `docker system dial-stdio` on its machine.
//!
//! The system's `ssh` makes the connection, with its keys, its agent, its configuration and the hosts that it knows;
//! bollard's own way trusts a host on first use.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error as EngineError;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Response, Uri};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::endpoint::PATIENCE;
use crate::error::PushError;

/// How long an `ssh` that gave up may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Connects to the engine at `ssh://[USER@]HOST[:PORT][/SOCKET]`.
pub(super) fn connect(host: &str) -> Result<Docker, PushError> {
    let unclear = |problem: String| PushError::EngineSettings(format!("{host}: {problem}"));
    let url = Url::parse(host).map_err(|cause| unclear(cause.to_string()))?;
    let words = Arc::new(words(&url).ok_or_else(|| unclear("it names no host".to_owned()))?);
    let send = move |request: BollardRequest| {
        let words = Arc::clone(&words);
        Box::pin(async move { ask(&words, request).await }) as Pin<Box<dyn Future<Output = _> + Send>>
    };
    Docker::connect_with_custom_transport(send, Some("http://engine"), PATIENCE, API_DEFAULT_VERSION)
        .map_err(|cause| unclear(cause.to_string()))
}

/// What `ssh` is called with.
fn words(url: &Url) -> Option<Vec<String>> {
    let host = url.host_str().filter(|host| !host.is_empty())?;
    let mut words = vec!["-T".to_owned(), "-o".to_owned(), "ConnectTimeout=30".to_owned()];
    if !url.username().is_empty() {
        words.extend(["-l".to_owned(), url.username().to_owned()]);
    }
    words.extend(url.port().into_iter().flat_map(|port| ["-p".to_owned(), port.to_string()]));
    words.extend(["--".to_owned(), host.trim_matches(['[', ']']).to_owned(), "docker".to_owned()]);
    if !matches!(url.path(), "" | "/") {
        words.extend(["--host".to_owned(), format!("unix://{}", url.path())]);
    }
    words.extend(["system".to_owned(), "dial-stdio".to_owned()]);
    Some(words)
}

/// Makes one request over a connection of its own.
async fn ask(words: &[String], mut request: BollardRequest) -> Result<Response<Incoming>, EngineError> {
    let mut ssh = Command::new("ssh")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|cause| io::Error::other(format!("can't start ssh: {cause}")))?;
    let (Some(stdin), Some(stdout), Some(mut stderr)) =
        (ssh.stdin.take(), ssh.stdout.take(), ssh.stderr.take())
    else {
        return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
    };
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(path);
    }
    request.headers_mut().insert(HOST, HeaderValue::from_static("engine"));
    let answer = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(tokio::io::join(stdout, stdin))).await?;
        tokio::spawn(async move {
            let _as_long_as_it_is_used = ssh;
            let _ = connection.await;
        });
        sender.send_request(request).await
    };
    match answer.await {
        Ok(answer) => {
            tokio::spawn(async move { tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await });
            Ok(answer)
        }
        Err(error) => {
            let mut said = String::new();
            let _ = tokio::time::timeout(LAST_WORDS, stderr.read_to_string(&mut said)).await;
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            let why = if said.is_empty() { error.to_string() } else { said };
            Err(io::Error::other(why).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_is_called_as_docker_calls_it() {
        let called = |host: &str| words(&Url::parse(host).unwrap()).unwrap().join(" ");
        assert_eq!(called("ssh://far.test"), "-T -o ConnectTimeout=30 -- far.test docker system dial-stdio");
        assert_eq!(
            called("ssh://ci@[::1]:2222/run/docker.sock"),
            "-T -o ConnectTimeout=30 -l ci -p 2222 -- ::1 docker --host unix:///run/docker.sock system dial-stdio"
        );
    }
}
