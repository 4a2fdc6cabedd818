//! How requests travel to an API server: all through one HTTP/2 connection, as client-go sends them, and each watch
//! through one of its own.
//!
//! kube's own client knows HTTP/1.1 only, which takes a connection, and with it a TLS handshake, for each request that is
//! under way, and does not notice that a connection is dead. A server allows 100 requests at a time on a connection, of
//! which a watch would keep one for as long as it lasts.

use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::Scheme;
use http::{Request, Uri};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Builder, Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Config;
use kube::client::{Body, ConfigExt as _};
use rustls::pki_types::ServerName;
use tower::{BoxError, Service, ServiceBuilder};

type Connector = TimeoutConnector<HttpsConnector<HttpConnector>>;
type Hyper = Client<Connector, Body>;

/// Makes the client of a cluster; runs its credential plugin, and waits for it.
///
/// A connection on which an answer is waited for, and nothing comes for a third of `silence`, is asked whether it is
/// there; after the rest it is given up, as whatever is sent next would go the same way.
pub(super) fn client(config: Config, silence: Duration) -> Result<kube::Client, kube::Error> {
    // How to go through a proxy is kube's to know, and without TLS nothing says that a server speaks HTTP/2.
    if config.proxy_url.is_some() || config.cluster_url.scheme() != Some(&Scheme::HTTPS) {
        return kube::Client::try_from(config);
    }
    // First, as its errors are better than those of the certificates that a plugin may give.
    let credentials = config.auth_layer()?;
    let connector = connector(&config, silence)?;
    let shared = connections(silence).build(connector.clone());
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(credentials)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(Transport { shared, connector, silence });
    Ok(kube::Client::new(service, config.default_namespace))
}

/// Connects as kube's client does; speaks HTTP/2 where the server does.
fn connector(config: &Config, silence: Duration) -> Result<Connector, kube::Error> {
    let builder = HttpsConnectorBuilder::new().with_tls_config(config.rustls_client_config()?).https_only();
    let builder = match &config.tls_server_name {
        Some(name) => {
            let name = ServerName::try_from(name.clone());
            let name = name.map_err(|error| kube::Error::Service(error.into()))?;
            builder.with_server_name_resolver(FixedServerNameResolver::new(name))
        }
        None => builder,
    };
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    // Small frames that follow each other do not wait for an acknowledgement.
    tcp.set_nodelay(true);
    // HTTP/1.1 has no way to ask.
    tcp.set_keepalive(Some(silence / 3));
    tcp.set_keepalive_interval(Some(silence / 6));
    tcp.set_keepalive_retries(Some(4));
    let mut connector = TimeoutConnector::new(builder.enable_all_versions().wrap_connector(tcp));
    connector.set_connect_timeout(config.connect_timeout);
    Ok(connector)
}

fn connections(silence: Duration) -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(silence / 3)
        .http2_keep_alive_timeout(silence * 2 / 3);
    builder
}

/// The two ways that a request may take.
#[derive(Clone)]
struct Transport {
    shared: Hyper,
    connector: Connector,
    silence: Duration,
}

impl Service<Request<Body>> for Transport {
    type Response = <Hyper as Service<Request<Body>>>::Response;
    type Error = <Hyper as Service<Request<Body>>>::Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // A request makes the connection that it needs.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if is_watch(request.uri()) {
            // To hyper a connection whose client is gone is idle, although its answer goes on.
            let own: Hyper =
                connections(self.silence).http2_keep_alive_while_idle(true).build(self.connector.clone());
            own.request(request)
        } else {
            self.shared.request(request)
        }
    }
}

/// Whether a request lasts until one end has enough of it.
fn is_watch(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|parameter| parameter == "watch=1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_told_by_its_query() {
        let is = |uri: &str| is_watch(&uri.parse().unwrap());
        assert!(is("https://server/api/v1/pods?watch=1&resourceVersion=4"));
        assert!(is("/api/v1/pods?limit=500&watch=1"));
        assert!(!is("/api/v1/pods?limit=500&labelSelector=watch%3D1"));
        assert!(!is("/api/v1/namespaces/watch=1"));
    }
}
