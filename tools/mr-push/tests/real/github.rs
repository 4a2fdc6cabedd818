//! GitHub, as far as its REST API is asked: the repository is on a plain Git server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::project::{Project, discreetly};

/// GitHub's pulls, issues and milestones of one repository, and what it was asked.
#[derive(Default)]
struct Github {
    pulls: Vec<Value>,
    asked: Vec<(String, Value)>,
}

impl Github {
    fn serve() -> (u16, Arc<Mutex<Self>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let github = Arc::new(Mutex::new(Self::default()));
        let shared = Arc::clone(&github);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                Self::answer(&shared, client.unwrap());
            }
        });
        (port, github)
    }

    /// One request a connection.
    fn answer(github: &Mutex<Self>, mut client: TcpStream) {
        let mut reader = BufReader::new(client.try_clone().unwrap());
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line.trim_end().is_empty() {
                break;
            }
            head.push(line.trim_end().to_owned());
        }
        let Some((request, headers)) = head.split_first() else { return };
        let header = |name: &str| {
            let found = headers.iter().filter_map(|line| line.split_once(": "));
            found.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
        };
        let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let authorized = header("authorization").as_deref() == Some("Bearer ghp-token");
        let (status, reply) = if authorized {
            let words = request.rsplit_once(' ').unwrap().0;
            github.lock().unwrap().reply(words, serde_json::from_slice(&body).unwrap_or_default())
        } else {
            (401, json!({ "message": "Bad credentials" }))
        };
        let text = reply.to_string();
        let length = text.len();
        write!(client, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}")
            .unwrap();
    }

    fn reply(&mut self, request: &str, body: Value) -> (u16, Value) {
        let (method, path) = request.split_once(' ').unwrap();
        let path = path.split_once('/').map_or(path, |(_, rest)| rest);
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<&str> = path.split('/').skip(4).collect();
        self.asked.push((format!("{method} {}", parts.join("/")), body.clone()));
        match (method, parts.as_slice()) {
            ("GET", ["pulls"]) => {
                let asked =
                    |pull: &&Value| query.contains(&format!("%3A{}&", pull["head"].as_str().unwrap()));
                (200, self.pulls.iter().filter(asked).cloned().collect())
            }
            ("POST", ["pulls"]) => {
                let number = self.pulls.len() + 1;
                let mut pull = body;
                pull["number"] = json!(number);
                pull["html_url"] = json!(format!("https://github.test/team/app/pull/{number}"));
                self.pulls.push(pull.clone());
                (201, pull)
            }
            ("GET", ["milestones"]) => (200, json!([{ "number": 7, "title": "1.0" }])),
            ("POST", ["issues", _, "labels"]) => {
                let labels = body["labels"].as_array().unwrap();
                (200, labels.iter().map(|name| json!({ "name": name })).collect())
            }
            // People who may not be assigned are left out.
            ("PATCH", ["issues", _]) => {
                let names = body["assignees"].as_array().cloned().unwrap_or_default();
                let known = names.iter().filter(|name| **name == "ann").map(|name| json!({ "login": name }));
                (200, json!({ "assignees": known.collect::<Vec<_>>() }))
            }
            ("POST", ["pulls", _, "requested_reviewers"]) => (201, json!({})),
            _ => (404, json!({ "message": "Not Found" })),
        }
    }
}

#[test]
fn github_opens_a_pull_request_through_its_api() {
    let project = Project::on_gitlab();
    let (port, github) = Github::serve();
    let api = format!("http://127.0.0.1:{port}/api");
    let run = |token: &str, options: &[&str]| {
        let mut all = vec!["--forge", "github", "--api-url", &api];
        all.extend(options);
        discreetly(project.command(&project.url, "b", &all).env("GITHUB_TOKEN", token))
    };
    run("", &[]).ended(77).says("GITHUB_TOKEN");
    assert_eq!(project.branch("b"), None);
    let wishes =
        ["--label", "bump", "--assignee", "@ann", "--reviewer", "bob", "--milestone", "1.0", "--draft"];
    let first = run("ghp-token", &wishes).ended(0);
    assert_eq!(first.stdout, "https://github.test/team/app/pull/1\n");
    {
        let github = github.lock().unwrap();
        let asked = |request: &str| &github.asked.iter().find(|(what, _)| what == request).unwrap().1;
        let pull = asked("POST pulls");
        assert_eq!((&pull["head"], &pull["base"]), (&json!("b"), &json!("demo")));
        assert_eq!((&pull["title"], &pull["draft"]), (&json!("Runner: 2"), &json!(true)));
        assert_eq!(asked("PATCH issues/1"), &json!({ "assignees": ["ann"], "milestone": 7 }));
        assert_eq!(asked("POST issues/1/labels"), &json!({ "labels": ["bump"] }));
        assert_eq!(asked("POST pulls/1/requested_reviewers"), &json!({ "reviewers": ["bob"] }));
    }
    // The same again finds it.
    assert_eq!(run("ghp-token", &[]).ended(0).stdout, first.stdout);
    assert_eq!(github.lock().unwrap().pulls.len(), 1);
    run("ghp-token", &["--assignee", "eve"]).ended(2).says("left out --assignee eve");
    let expired = run("ghp-expired", &["-vv"]).ended(77).says("Bad credentials");
    assert!(!expired.stderr.contains("ghp-expired"));
}
