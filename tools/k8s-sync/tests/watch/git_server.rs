//! A Git server over HTTP: git's own http-backend behind a port that can go away and come back.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The server of the repositories in one folder.
pub(crate) struct GitServer {
    folder: PathBuf,
    address: SocketAddr,
    /// What was asked for, `METHOD TARGET` each, and whether it was for a list of refs.
    asked: Arc<Mutex<Vec<String>>>,
    serving: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl GitServer {
    pub(crate) fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = Self { folder: folder.to_owned(), address, asked: Arc::default(), serving: None };
        server.serve(listener);
        server
    }

    pub(crate) fn url(&self, repository: &str) -> String {
        format!("http://{}/{repository}", self.address)
    }

    /// What was asked for since the last time.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// Nobody answers any more: connections are refused.
    pub(crate) fn stop(&mut self) {
        let Some((up, serving)) = self.serving.take() else { return };
        up.store(false, Ordering::SeqCst);
        // The thread waits for a connection: here is its last one.
        let _ = TcpStream::connect(self.address);
        serving.join().unwrap();
    }

    pub(crate) fn start_again(&mut self) {
        if self.serving.is_none() {
            self.serve(TcpListener::bind(self.address).unwrap());
        }
    }

    fn serve(&mut self, listener: TcpListener) {
        let up = Arc::new(AtomicBool::new(true));
        let (is_up, folder, asked) = (up.clone(), self.folder.clone(), self.asked.clone());
        let serving = std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if !is_up.load(Ordering::SeqCst) {
                    return;
                }
                let (folder, asked) = (folder.clone(), asked.clone());
                // A client that hangs up is no trouble of ours.
                std::thread::spawn(move || answer(client, &folder, &asked).unwrap_or_default());
            }
        });
        self.serving = Some((up, serving));
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Answers one request by git http-backend (RFC 3875).
fn answer(client: TcpStream, folder: &Path, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut command = Command::new("git");
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", folder)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query);
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or_default(),
            "content-type" => drop(command.env("CONTENT_TYPE", value)),
            "content-encoding" => drop(command.env("HTTP_CONTENT_ENCODING", value)),
            "git-protocol" => drop(command.env("GIT_PROTOCOL", value)),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let lists = String::from_utf8_lossy(&body).contains("command=ls-refs");
    asked.lock().unwrap().push(format!("{method} {target}{}", if lists { " ls-refs" } else { "" }));
    command.env("CONTENT_LENGTH", length.to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(&body);
    }
    let output = child.wait_with_output()?.stdout;
    let status = output.strip_prefix(b"Status: ").and_then(|rest| rest.split(|byte| *byte == b'\r').next());
    let status = String::from_utf8_lossy(status.unwrap_or(b"200 OK")).into_owned();
    let mut client = client;
    client.write_all(format!("HTTP/1.1 {status}\r\nConnection: close\r\n").as_bytes())?;
    client.write_all(&output)
}
