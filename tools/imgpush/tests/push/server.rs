//! A registry and a token server in this process, which go wrong on demand.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use imgpush::digest;

/// A request, whole.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: HashMap<String, String>,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

/// What goes wrong.
#[derive(Clone)]
pub(crate) enum Kind {
    /// Another answer, without doing what was asked.
    Status(u16, &'static str),
    /// The connection ends once so many bytes of the body are there.
    Break(usize),
    /// The request is done, and the connection ends instead of an answer.
    Lose,
    /// The request is done, and answered as if it were refused.
    DoneAndRefused(u16),
    /// No answer.
    Stall,
    /// Half of the answer's body.
    Truncate,
    /// The digest of something else.
    WrongDigest,
    /// Another host to go to, once.
    Redirect,
}

/// What goes wrong where, and how often.
pub(crate) struct Fault {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) times: usize,
    pub(crate) kind: Kind,
}

/// Who may do what.
#[derive(Clone, Default)]
pub(crate) enum Login {
    #[default]
    Nobody,
    Basic,
    /// Tokens that live so long.
    Token(Duration),
}

/// The user of every login.
pub(crate) const USER: (&str, &str) = ("robot", "p~~~~ ?>:");

#[derive(Default)]
pub(crate) struct State {
    pub(crate) blobs: HashMap<String, Vec<u8>>,
    pub(crate) linked: HashSet<(String, String)>,
    pub(crate) manifests: HashMap<(String, String), (String, Vec<u8>)>,
    pub(crate) uploads: HashMap<String, Vec<u8>>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) login: Login,
    /// Who may log in, instead of [`USER`].
    pub(crate) user: Option<(&'static str, &'static str)>,
    pub(crate) requests: Vec<String>,
    /// What a mount is answered, instead of being made; 202 begins an upload.
    pub(crate) mounts: Option<u16>,
    /// A repository that nobody may read, and whether the token server refuses all that is asked for with it.
    pub(crate) hidden: Option<(String, bool)>,
    /// Each token with its scopes and its end.
    pub(crate) tokens: HashMap<String, (Vec<String>, Instant)>,
    count: usize,
}

/// A registry that serves until the test's process ends.
pub(crate) struct Server {
    pub(crate) host: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn new() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let host = listen(move |request, stream| answered(&shared, request, stream));
        Self { host, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Goes wrong like this from now on, and forgets what was asked.
    pub(crate) fn fails(&self, method: &'static str, path: &'static str, times: usize, kind: Kind) {
        let mut state = self.state();
        state.faults.push(Fault { method, path, times, kind });
        state.requests.clear();
    }

    /// The manifest under a repository's tag, parsed.
    pub(crate) fn manifest(&self, repository: &str, tag: &str) -> Option<serde_json::Value> {
        let key = (repository.to_owned(), tag.to_owned());
        self.state().manifests.get(&key).map(|(_, body)| serde_json::from_slice(body).unwrap())
    }

    /// Puts a manifest there in another way; its digest.
    pub(crate) fn put(&self, repository: &str, tag: &str, body: String) -> String {
        let digest = digest::of(body.as_bytes());
        let stored = ("application/vnd.docker.distribution.manifest.v2+json".to_owned(), body.into_bytes());
        for name in [tag, &digest] {
            self.state().manifests.insert((repository.to_owned(), name.to_owned()), stored.clone());
        }
        digest
    }

    /// The requests of a method.
    pub(crate) fn requests(&self, method: &str) -> Vec<String> {
        self.state().requests.iter().filter(|line| line.starts_with(method)).cloned().collect()
    }
}

/// Serves on loopback; the answer `None` ends the connection.
pub(crate) fn listen(
    answer: impl Fn(&Request, &TcpStream) -> Option<Answer> + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                let stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while let Some(request) = head(&mut reader).and_then(|head| whole(head, &mut reader)) {
                    let Some(answer) = answer(&request, &stream) else { return };
                    if write(&stream, &request, &answer).is_none() {
                        return;
                    }
                }
            });
        }
    });
    host
}

/// The request line and the headers; `None` where what comes is no HTTP, TLS for example.
fn head(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let line = |reader: &mut BufReader<TcpStream>| {
        let mut line = Vec::new();
        reader.take(1 << 16).read_until(b'\n', &mut line).ok()?;
        Some(String::from_utf8(line).ok()?.trim_end().to_owned())
    };
    let start = line(reader).filter(|start| start.ends_with("HTTP/1.1"));
    let Some(start) = start else {
        let _ = reader.get_mut().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        return None;
    };
    let mut words = start.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    // A client that takes this server for a proxy names the host too.
    let target = match target.strip_prefix("http://").and_then(|address| address.find('/')) {
        Some(slash) => target["http://".len() + slash..].to_owned(),
        None => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let url = reqwest::Url::parse(&format!("http://x/?{query}")).unwrap();
    let mut headers = HashMap::new();
    loop {
        let line = line(reader)?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let mut query = HashMap::new();
    for (name, value) in pairs {
        query.entry(name).and_modify(|all: &mut String| *all = format!("{all} {value}")).or_insert(value);
    }
    Some(Request { method, path: path.to_owned(), query, headers, body: Vec::new() })
}

/// The request with what came of its body; a body that breaks off ends the connection.
fn whole(mut request: Request, reader: &mut BufReader<TcpStream>) -> Option<Request> {
    if let Some(length) = request.headers.get("content-length") {
        request.body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut request.body).ok()?;
    } else if request.headers.contains_key("transfer-encoding") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = u64::from_str_radix(size.trim(), 16).ok()?;
            let mut piece = Vec::new();
            reader.take(size + 2).read_to_end(&mut piece).ok()?;
            request.body.extend_from_slice(&piece[..piece.len().checked_sub(2)?]);
            if size == 0 {
                break;
            }
        }
    }
    Some(request)
}

fn write(mut stream: &TcpStream, request: &Request, answer: &Answer) -> Option<()> {
    let has_length = answer.headers.iter().any(|(name, _)| name == "Content-Length");
    let length = [("Content-Length".to_owned(), answer.body.len().to_string())];
    let headers = answer.headers.iter().chain(length.iter().filter(|_| !has_length));
    let headers: String = headers.flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect();
    stream.write_all(format!("HTTP/1.1 {} Some Words\r\n{headers}\r\n", answer.status).as_bytes()).ok()?;
    if request.method != "HEAD" {
        stream.write_all(&answer.body).ok()?;
    }
    // A length that is not kept shows by the connection's end.
    (!has_length).then_some(())
}

/// What a request leads to, faults included; `None` is a connection that ends.
fn answered(state: &Mutex<State>, request: &Request, stream: &TcpStream) -> Option<Answer> {
    let fault = {
        let mut state = state.lock().unwrap();
        state.requests.push(format!("{} {}", request.method, request.path));
        let fault = state.faults.iter_mut().find(|fault| {
            fault.times > 0 && fault.method == request.method && request.path.contains(fault.path)
        });
        fault.map(|fault| {
            fault.times -= 1;
            fault.kind.clone()
        })
    };
    let normal = || state.lock().unwrap().answer(request);
    match fault {
        None => Some(normal()),
        Some(Kind::Status(status, header)) => {
            let answer = Answer::new(status).body("<html>Bad Gateway</html>");
            Some(match header.split_once(": ") {
                Some((name, value)) => answer.header(name, value),
                None => answer,
            })
        }
        Some(Kind::Break(bytes)) => {
            // As much of the body as arrived is kept, as registries do.
            let mut state = state.lock().unwrap();
            let id = request.path.rsplit('/').next().unwrap_or_default();
            if let Some(upload) = state.uploads.get_mut(id) {
                upload.extend_from_slice(&request.body[..bytes.min(request.body.len())]);
            }
            None
        }
        Some(Kind::Lose) => {
            normal();
            None
        }
        Some(Kind::DoneAndRefused(status)) => {
            normal();
            Some(Answer::new(status))
        }
        Some(Kind::Stall) => {
            // Until the client gives up.
            let _ = (&*stream).read(&mut [0]);
            None
        }
        Some(Kind::Truncate) => {
            let mut answer = normal();
            answer = answer.header("Content-Length", "100000");
            answer.body.truncate(answer.body.len() / 2);
            Some(answer)
        }
        Some(Kind::WrongDigest) => {
            let mut answer = normal();
            answer.headers.retain(|(name, _)| name != "Docker-Content-Digest");
            Some(answer.header("Docker-Content-Digest", digest::of(b"something else")))
        }
        Some(Kind::Redirect) => {
            let target = format!("{}?redirected=1", request.path);
            Some(Answer::new(307).header("Location", target))
        }
    }
}

impl State {
    fn basic(&self) -> String {
        use base64::Engine as _;
        let (name, password) = self.user.unwrap_or(USER);
        let pair = format!("{name}:{password}");
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }

    fn answer(&mut self, request: &Request) -> Answer {
        if request.path == "/token" {
            return self.token(request);
        }
        let Some(rest) = request.path.strip_prefix("/v2/") else { return Answer::new(404) };
        let Some((repository, what)) = ["/blobs/uploads/", "/blobs/", "/manifests/", "/tags/"]
            .iter()
            .find_map(|part| rest.split_once(part).map(|(repository, name)| (repository, (*part, name))))
        else {
            return Answer::new(404);
        };
        if let Some(challenge) = self.challenge(request, repository) {
            return challenge;
        }
        match what {
            ("/blobs/uploads/", id) => self.upload(request, repository, id),
            ("/blobs/", digest) => {
                let linked = self.linked.contains(&(repository.to_owned(), digest.to_owned()));
                match self.blobs.get(digest).filter(|_| linked) {
                    Some(blob) => Answer::new(200).body(blob.clone()),
                    None => Answer::new(404),
                }
            }
            ("/manifests/", name) => self.manifest(request, repository, name),
            _ => {
                let names = self.manifests.keys().filter(|(path, _)| path == repository);
                let tags: Vec<&str> =
                    names.map(|(_, name)| name.as_str()).filter(|name| !name.contains(':')).collect();
                Answer::new(200).body(serde_json::json!({"name": repository, "tags": tags}).to_string())
            }
        }
    }

    /// What stands between this request and its answer.
    fn challenge(&self, request: &Request, repository: &str) -> Option<Answer> {
        let given = request.headers.get("authorization").map_or("", String::as_str);
        match &self.login {
            Login::Nobody => None,
            Login::Basic => (given != self.basic())
                .then(|| Answer::new(401).header("WWW-Authenticate", "Basic realm=\"here\"")),
            Login::Token(_) => {
                let right = if request.method == "GET" || request.method == "HEAD" { "pull" } else { "push" };
                let allows = |path: &str, right: &str| {
                    let token = given.strip_prefix("Bearer ").and_then(|token| self.tokens.get(token));
                    token.is_some_and(|(scopes, end)| {
                        *end > Instant::now()
                            && scopes.iter().any(|scope| {
                                scope.starts_with(&format!("repository:{path}:")) && scope.contains(right)
                            })
                    })
                };
                let mounted = request.query.get("from").is_none_or(|from| allows(from, "pull"));
                (!allows(repository, right) || !mounted).then(|| {
                    let host = &request.headers["host"];
                    let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"here\"");
                    Answer::new(401).header("WWW-Authenticate", challenge)
                })
            }
        }
    }

    fn token(&mut self, request: &Request) -> Answer {
        let Login::Token(life) = self.login else { return Answer::new(404) };
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let form: HashMap<String, String> =
            reqwest::Url::parse(&format!("http://x/?{body}")).unwrap().query_pairs().into_owned().collect();
        let is_user = request.headers.get("authorization").is_some_and(|given| *given == self.basic());
        let is_identity = form.get("refresh_token").is_some_and(|token| token == "an identity token");
        if !is_user && !is_identity {
            return Answer::new(401);
        }
        self.count += 1;
        let token = format!("token-{}", self.count);
        let scopes = form.get("scope").or(request.query.get("scope")).cloned().unwrap_or_default();
        let mut scopes: Vec<String> = scopes.split(' ').map(ToOwned::to_owned).collect();
        if let Some((hidden, refuses_all)) = &self.hidden {
            let asked = scopes.len();
            scopes.retain(|scope| !scope.starts_with(&format!("repository:{hidden}:")));
            if *refuses_all && scopes.len() < asked {
                return Answer::new(403);
            }
        }
        self.tokens.insert(token.clone(), (scopes, Instant::now() + life));
        let answer = serde_json::json!({"token": token, "expires_in": life.as_secs()});
        Answer::new(200).body(answer.to_string())
    }

    fn upload(&mut self, request: &Request, repository: &str, id: &str) -> Answer {
        let place = |id: &str| format!("/v2/{repository}/blobs/uploads/{id}");
        match request.method.as_str() {
            "POST" => {
                let mount = (request.query.get("mount"), request.query.get("from"));
                if let ((Some(_), _), Some(status)) = (mount, self.mounts.filter(|status| *status != 202)) {
                    return Answer::new(status);
                }
                if let ((Some(digest), Some(from)), None) = (mount, self.mounts)
                    && self.linked.contains(&(from.clone(), digest.clone()))
                {
                    self.linked.insert((repository.to_owned(), digest.clone()));
                    return Answer::new(201).header("Location", place(digest));
                }
                self.count += 1;
                let id = format!("upload-{}", self.count);
                self.uploads.insert(id.clone(), Vec::new());
                Answer::new(202).header("Location", place(&id))
            }
            "DELETE" => Answer::new(if self.uploads.remove(id).is_some() { 204 } else { 404 }),
            method => {
                let Some(upload) = self.uploads.get_mut(id) else { return Answer::new(404) };
                if let Some(range) = request.headers.get("content-range")
                    && !range.starts_with(&format!("{}-", upload.len()))
                {
                    return Answer::new(416).header("Location", place(id));
                }
                upload.extend_from_slice(&request.body);
                let range = format!("0-{}", upload.len().saturating_sub(1));
                if method != "PUT" {
                    let status = if method == "GET" { 204 } else { 202 };
                    return Answer::new(status).header("Location", place(id)).header("Range", range);
                }
                let content = self.uploads.remove(id).unwrap();
                let digest = digest::of(&content);
                if request.query.get("digest") != Some(&digest) {
                    return Answer::new(400);
                }
                self.linked.insert((repository.to_owned(), digest.clone()));
                self.blobs.insert(digest.clone(), content);
                Answer::new(201).header("Docker-Content-Digest", digest)
            }
        }
    }

    fn manifest(&mut self, request: &Request, repository: &str, name: &str) -> Answer {
        if request.method == "PUT" {
            let manifest: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            let named = |key: &str| manifest[key].as_array().cloned().unwrap_or_default();
            let has = |digest: &str| self.linked.contains(&(repository.to_owned(), digest.to_owned()));
            let is_elsewhere = |blob: &serde_json::Value| blob["urls"].is_array();
            let layers = named("layers").into_iter().filter(|layer| !is_elsewhere(layer));
            let blobs = layers.chain(Some(manifest["config"].clone()));
            let missing = blobs
                .filter_map(|blob| blob["digest"].as_str().map(ToOwned::to_owned))
                .find(|digest| !has(digest));
            let children = named("manifests");
            let orphan = children.iter().find(|child| {
                let digest = child["digest"].as_str().unwrap().to_owned();
                !self.manifests.contains_key(&(repository.to_owned(), digest))
            });
            if missing.is_some() || orphan.is_some() {
                return Answer::new(400)
                    .body(r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"no"}]}"#);
            }
            let stored = (request.headers["content-type"].clone(), request.body.clone());
            let digest = digest::of(&request.body);
            for name in [name, &digest] {
                self.manifests.insert((repository.to_owned(), name.to_owned()), stored.clone());
            }
            return Answer::new(201).header("Docker-Content-Digest", digest);
        }
        match self.manifests.get(&(repository.to_owned(), name.to_owned())) {
            Some((media_type, body)) => Answer::new(200)
                .header("Content-Type", media_type)
                .header("Docker-Content-Digest", digest::of(body))
                .body(body.clone()),
            None => Answer::new(404),
        }
    }
}
