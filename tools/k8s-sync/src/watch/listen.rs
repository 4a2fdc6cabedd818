//! What `--listen` answers: probes, metrics, the push webhook and the page.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::{Stream, stream};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use step::{Failure, FailureKind, ResultExt as _, Secret};
use tokio::net::TcpListener;

use super::board::{Board, Role};
use super::{metrics, page, webhook};

/// Nothing but what this server itself sends, and no frame around it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The largest webhook call, in bytes; GitHub sends at most 25 MB, of which a push needs little.
const LARGEST_CALL: usize = 25 * 1024 * 1024;
/// A page is not told more often than this that something changed.
const PACE: Duration = Duration::from_millis(250);

/// Whom a webhook calls: one repository may be the source of several applications.
pub trait Listener: Send + Sync {
    /// The application's source may have changed. Returns how many applications there are of these repositories.
    fn pushed(&self, repositories: &std::collections::HashSet<String>) -> usize;
}

/// What is answered from.
#[derive(Clone)]
pub struct Answers {
    /// What is known.
    pub board: Arc<Board>,
    /// The webhook's secret; without one there is no webhook.
    pub secret: Option<Secret>,
    /// Whom the webhook calls.
    pub listener: Arc<dyn Listener>,
}

/// Opens the port.
pub async fn open(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .or_fail_with(FailureKind::Input, || format!("can't listen on {address}"))
        .map_err(|failure| failure.hint("--listen names another address, such as 127.0.0.1:8080"))
}

/// Answers until the process ends.
pub async fn serve(port: TcpListener, answers: Answers) -> Result<(), Failure> {
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(counted))
        .route("/webhook", post(called))
        .route("/live", get(live))
        .route(
            "/live.js",
            get(|| async { text("text/javascript; charset=utf-8", include_str!("live.js").to_owned()) }),
        )
        .route(
            "/page.css",
            get(|| async { text("text/css; charset=utf-8", include_str!("page.css").to_owned()) }),
        )
        .route("/", get(index))
        .route("/applications/{name}", get(application))
        .fallback(nothing_here)
        .layer(DefaultBodyLimit::max(LARGEST_CALL))
        .with_state(answers);
    axum::serve(port, routes).await.or_fail(FailureKind::Internal)
}

async fn readiness(State(answers): State<Answers>) -> Response {
    if answers.board.is_ready() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not every source was looked at yet\n").into_response()
    }
}

async fn counted(State(answers): State<Answers>) -> Response {
    text(metrics::MEDIA_TYPE, answers.board.metrics_text())
}

async fn called(State(answers): State<Answers>, headers: HeaderMap, body: Bytes) -> Response {
    let count = |result| answers.board.metrics.webhook(result);
    let Some(secret) = &answers.secret else {
        count("refused");
        return (StatusCode::NOT_FOUND, "no webhook: it has no secret (K8S_SYNC_WEBHOOK_SECRET)\n")
            .into_response();
    };
    if !webhook::is_genuine(&headers, &body, secret) {
        count("refused");
        return (StatusCode::UNAUTHORIZED, "not the webhook's secret\n").into_response();
    }
    let repositories = webhook::repositories(&body);
    let applications = answers.listener.pushed(&repositories);
    count(if applications == 0 { "unrelated" } else { "accepted" });
    (StatusCode::ACCEPTED, format!("{applications} applications look at it\n")).into_response()
}

async fn index(State(answers): State<Answers>) -> Response {
    text(HTML, page::index(&answers.board))
}

async fn application(State(answers): State<Answers>, Path(name): Path<String>) -> Response {
    match page::application(&answers.board, &name) {
        Some(page) => text(HTML, page),
        None => nothing_here(State(answers)).await,
    }
}

async fn nothing_here(State(answers): State<Answers>) -> Response {
    (StatusCode::NOT_FOUND, text(HTML, page::nothing_here(&answers.board))).into_response()
}

/// Says that something changed; the page then asks for itself again.
async fn live(State(answers): State<Answers>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = stream::unfold(answers.board.changes(), |mut changes| async move {
        changes.changed().await.ok()?;
        tokio::time::sleep(PACE).await;
        let version = *changes.borrow_and_update();
        Some((Ok(Event::default().data(version.to_string())), changes))
    });
    Sse::new(changes).keep_alive(KeepAlive::default())
}

const HTML: &str = "text/html; charset=utf-8";

fn text(media_type: &'static str, body: String) -> Response {
    const HEADERS: [(HeaderName, HeaderValue); 4] = [
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (HEADERS, [(CONTENT_TYPE, HeaderValue::from_static(media_type))], body).into_response()
}

/// Who applies, for the log.
pub fn role_text(role: &Role) -> String {
    match role {
        Role::Leading => "this replica leads".to_owned(),
        Role::StandingBy(Some(leader)) => format!("this replica stands by, {leader} leads"),
        Role::StandingBy(None) => "this replica stands by".to_owned(),
    }
}
