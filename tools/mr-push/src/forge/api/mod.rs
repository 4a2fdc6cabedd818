//! Forges' REST APIs, as far as merge requests need them.
//!
//! Gitea `/api/v1` (its swagger), GitHub REST (`pulls`, `issues`), GitLab `/api/v4`
//! (`doc/api/merge_requests.md`).

use std::thread::sleep;
use std::time::Duration;

use git_remote::{HttpClient, Settings};
use serde_json::{Value, json};
use step::{Failure, FailureKind, Secret, url_without_credentials};
use url::Url;

use super::{Forge, Wishes};

mod gitlab;

/// Waits between tries of a request that a server could not answer.
const WAITS: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(1)];

/// Pages of 50 open requests that are searched.
const PAGES: u32 = 20;

/// A forge's API for one project.
pub struct Api {
    forge: Forge,
    client: HttpClient,
    base: String,
    project: String,
    token: Secret,
}

/// A merge request that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its page.
    pub url: String,
    /// Its number in the project.
    pub number: u64,
    /// Whether it was made just now.
    pub created: bool,
    /// Whether it is not to be merged yet.
    pub draft: bool,
}

/// Why an API did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It says so.
    #[error("{method} {path}: {status} {words}")]
    Refused {
        /// The HTTP method.
        method: &'static str,
        /// The URL's path.
        path: String,
        /// The status code.
        status: u16,
        /// The API's message.
        words: String,
    },
    /// Its answer is not what the forge documents.
    #[error("{path}: the answer has no {field}")]
    Shape {
        /// The URL's path.
        path: String,
        /// What was looked for.
        field: &'static str,
    },
    /// A URL that can't be one of an API.
    #[error("`{0}` is not an API's URL")]
    Url(String),
    /// A token is not sent for everyone to read.
    #[error("the token is not sent to {0}: it is neither HTTPS nor this machine")]
    Plain(String),
    /// A name that the forge does not have.
    #[error("the project has no {what} `{name}`")]
    Unknown {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// It did one part of what was asked, and dropped another without a word.
    #[error("the request is open, but the server left out {0}")]
    LeftOut(String),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let (kind, hint) = match &error {
            ApiError::Refused { status: 401 | 403, .. } => (
                FailureKind::Auth,
                Some("the token needs the right to use the API and to write to the project"),
            ),
            ApiError::Refused { status: 408 | 429 | 500.., .. } => (FailureKind::Transient, None),
            ApiError::Refused { status: 404, .. } => {
                (FailureKind::Refused, Some("the project's path, or a token that may not see it"))
            }
            ApiError::Plain(_) => (FailureKind::Auth, Some("--api-url names the API's https:// address")),
            ApiError::LeftOut(_) => (
                FailureKind::Refused,
                Some(
                    "it drops what the project does not have, and what its version or edition does not know",
                ),
            ),
            ApiError::Url(_) => {
                (FailureKind::Usage, Some("--api-url is for example https://git.example/api/v1"))
            }
            _ => (FailureKind::Refused, None),
        };
        let failure = Self::new(kind, error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl Api {
    /// The API at `base` (with its version, without a slash at the end).
    pub fn new(
        forge: Forge,
        base: &str,
        project: &str,
        token: Secret,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        let wrong = || ApiError::Url(url_without_credentials(base));
        let url = Url::parse(base).map_err(|_| wrong())?;
        let host = url.host_str().ok_or_else(wrong)?;
        let is_here = match url.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        };
        if url.scheme() != "https" && !is_here {
            return Err(ApiError::Plain(url_without_credentials(base)).into());
        }
        Ok(Self {
            forge,
            client: HttpClient::to(settings, host, url.scheme() == "https")?,
            base: base.trim_end_matches('/').to_owned(),
            project: project.to_owned(),
            token,
        })
    }

    /// Sees to it that a request from the branch to the target is open and has the wishes.
    pub fn ensure(&self, branch: &str, target: &str, wishes: &Wishes) -> Result<Opened, Failure> {
        let opened = match self.find(branch, target)? {
            Some(found) => found,
            None => self.create(branch, target, wishes)?,
        };
        self.fulfil(&opened, wishes)?;
        Ok(opened)
    }

    /// The open request from the branch to the target.
    pub fn find(&self, branch: &str, target: &str) -> Result<Option<Opened>, Failure> {
        match self.forge {
            Forge::Gitlab => {
                let path = format!(
                    "{}/merge_requests?state=opened&source_branch={}&target_branch={}",
                    self.project_path(),
                    encoded(branch),
                    encoded(target)
                );
                let found = self.get(&path)?;
                found.get(0).map(|request| self.opened(request, &path, false)).transpose()
            }
            Forge::Github => {
                let owner = self.project.split('/').next().unwrap_or_default();
                let (head, base) = (encoded(&format!("{owner}:{branch}")), encoded(target));
                let path = format!("{}/pulls?state=open&head={head}&base={base}", self.project_path());
                let found = self.get(&path)?;
                found.get(0).map(|request| self.opened(request, &path, false)).transpose()
            }
            Forge::Gitea | Forge::None => {
                for page in 1..=PAGES {
                    let path = format!(
                        "{}/pulls?state=open&sort=recentupdate&limit=50&page={page}",
                        self.project_path()
                    );
                    let found = self.get(&path)?;
                    let requests = found.as_array().map(Vec::as_slice).unwrap_or_default();
                    let same = |request: &&Value| {
                        request["head"]["ref"] == branch && request["base"]["ref"] == target
                    };
                    if let Some(request) = requests.iter().find(same) {
                        return self.opened(request, &path, false).map(Some);
                    }
                    if requests.is_empty() {
                        break;
                    }
                }
                Ok(None)
            }
        }
    }

    fn create(&self, branch: &str, target: &str, wishes: &Wishes) -> Result<Opened, Failure> {
        let title = wishes.title.as_deref().or(wishes.subject.as_deref()).unwrap_or(branch);
        let description = wishes.description.clone().unwrap_or_default();
        let path = format!("{}/pulls", self.project_path());
        let title = self.title(title, wishes);
        let mut body = json!({ "head": branch, "base": target, "title": title, "body": description });
        if self.forge == Forge::Github {
            body["draft"] = json!(wishes.draft);
        }
        match self.send("POST", &path, &body) {
            Ok(request) => self.opened(&request, &path, true),
            // Another job was faster.
            Err(error) => match self.find(branch, target) {
                Ok(Some(found)) => Ok(found),
                _ => Err(error),
            },
        }
    }

    /// Labels, people, milestone: what making a request leaves open.
    fn fulfil(&self, opened: &Opened, wishes: &Wishes) -> Result<(), Failure> {
        let (pull, issue) = ["pulls", "issues"]
            .map(|kind| format!("{}/{kind}/{}", self.project_path(), opened.number))
            .into();
        let mut change = serde_json::Map::new();
        if !wishes.assignees.is_empty() {
            change.insert("assignees".to_owned(), json!(without_at(&wishes.assignees)));
        }
        if let Some(title) = &wishes.milestone {
            change.insert("milestone".to_owned(), json!(self.milestone(title)?));
        }
        if !opened.created {
            // As GitLab does it, a later run's words replace the earlier ones.
            if let Some(title) = &wishes.title {
                change.insert("title".to_owned(), json!(self.title(title, wishes)));
            }
            if let Some(description) = &wishes.description {
                change.insert("body".to_owned(), json!(description));
            }
        }
        let mut left_out = Vec::new();
        if !change.is_empty() {
            let now = self.send("PATCH", &issue, &Value::Object(change))?;
            left_out.extend(missing("--assignee", &now["assignees"], "login", &wishes.assignees));
        }
        if !wishes.labels.is_empty() {
            let now = self.send("POST", &format!("{issue}/labels"), &json!({ "labels": wishes.labels }))?;
            left_out.extend(missing("--label", &now, "name", &wishes.labels));
        }
        if !wishes.reviewers.is_empty() {
            let body = json!({ "reviewers": without_at(&wishes.reviewers) });
            self.send("POST", &format!("{pull}/requested_reviewers"), &body)?;
        }
        // A draft can be made of an open request by its title on Gitea, and not at all on GitHub.
        let is_made_draft = self.forge == Forge::Gitea && (opened.created || wishes.title.is_some());
        if wishes.draft && !opened.draft && !is_made_draft {
            left_out.push("--draft".to_owned());
        }
        none_left_out(&left_out)
    }

    /// A title as it makes a draft where a prefix does so.
    fn title(&self, title: &str, wishes: &Wishes) -> String {
        let prefix = if wishes.draft && self.forge != Forge::Github { "WIP: " } else { "" };
        format!("{prefix}{title}")
    }

    /// The number that goes with a milestone's title.
    fn milestone(&self, title: &str) -> Result<u64, Failure> {
        let found = self.get(&format!("{}/milestones?state=open", self.project_path()))?;
        let field = if self.forge == Forge::Github { "number" } else { "id" };
        let same = found.as_array().and_then(|all| all.iter().find(|milestone| milestone["title"] == title));
        let number = same.and_then(|milestone| milestone[field].as_u64());
        number.ok_or_else(|| ApiError::Unknown { what: "open milestone", name: title.to_owned() }.into())
    }

    fn project_path(&self) -> String {
        match self.forge {
            Forge::Gitlab => format!("/projects/{}", encoded(&self.project)),
            _ => format!("/repos/{}", self.project),
        }
    }

    fn opened(&self, request: &Value, path: &str, created: bool) -> Result<Opened, Failure> {
        let (url, number) = match self.forge {
            Forge::Gitlab => ("web_url", "iid"),
            _ => ("html_url", "number"),
        };
        let missing = |field| ApiError::Shape { path: path.to_owned(), field };
        Ok(Opened {
            url: request[url].as_str().ok_or_else(|| missing("URL of the request"))?.to_owned(),
            number: request[number].as_u64().ok_or_else(|| missing("number of the request"))?,
            created,
            draft: request["draft"].as_bool().unwrap_or_default(),
        })
    }

    fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send("GET", path, &Value::Null)
    }

    fn send(&self, method: &'static str, path: &str, body: &Value) -> Result<Value, Failure> {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let token = match self.forge {
            Forge::Gitlab => ("PRIVATE-TOKEN", Secret::new(self.token.expose())),
            Forge::Github => ("Authorization", Secret::new(format!("Bearer {}", self.token.expose()))),
            Forge::Gitea | Forge::None => {
                ("Authorization", Secret::new(format!("token {}", self.token.expose())))
            }
        };
        let headers = [
            (token.0, token.1.expose()),
            ("Accept", "application/json"),
            ("Content-Type", "application/json"),
        ];
        let url = format!("{}{path}", self.base);
        let mut waits = WAITS.iter();
        loop {
            let reply = self.client.send(method, &url, &headers, text.as_bytes());
            let may_pass = match &reply {
                Ok(reply) => matches!(reply.status, 429 | 500..),
                Err(error) => error.is_transient(),
            };
            match waits.next().filter(|_| may_pass) {
                Some(wait) => sleep(*wait),
                None => return Ok(read(method, path, &reply?)?),
            }
        }
    }
}

fn read(method: &'static str, path: &str, reply: &git_remote::HttpReply) -> Result<Value, ApiError> {
    let parsed: Option<Value> = serde_json::from_str(&reply.body).ok();
    let path = path.split('?').next().unwrap_or_default().to_owned();
    if (200..300).contains(&reply.status) {
        return if reply.body.is_empty() {
            Ok(Value::Null)
        } else {
            parsed.ok_or(ApiError::Shape { path, field: "JSON" })
        };
    }
    let words = parsed.and_then(|answer| {
        let told = [&answer["message"], &answer["error_description"], &answer["error"]];
        let message = told.into_iter().find(|value| !value.is_null())?;
        Some(message.as_str().map_or_else(|| message.to_string(), ToOwned::to_owned))
    });
    let words = words.unwrap_or_default().lines().next().unwrap_or_default().to_owned();
    Err(ApiError::Refused { method, path, status: reply.status, words })
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// The wanted names that are not among those that the server tells; each behind the option it comes from.
fn missing(option: &str, told: &Value, field: &str, wanted: &[String]) -> Vec<String> {
    let names = told.as_array().map(Vec::as_slice).unwrap_or_default().iter();
    let names: Vec<&str> = names.filter_map(|one| one.as_str().or_else(|| one[field].as_str())).collect();
    let is_missing = |name: &&str| !names.iter().any(|told| told.eq_ignore_ascii_case(name));
    without_at(wanted).into_iter().filter(is_missing).map(|name| format!("{option} {name}")).collect()
}

/// A failure that names what was left out, if something was.
pub fn none_left_out(what: &[String]) -> Result<(), Failure> {
    if what.is_empty() { Ok(()) } else { Err(ApiError::LeftOut(what.join(", ")).into()) }
}

fn without_at(names: &[String]) -> Vec<&str> {
    names.iter().map(|name| name.trim_start_matches('@')).collect()
}
