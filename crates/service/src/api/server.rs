//! Serves a router: so many connections at once, of all and of each address, each with deadlines for what its client says
//! and takes, and an end; by TLS if wanted.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, http::Request};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    select,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use super::{
    addresses::{Network, counted_as},
    guard::Peer,
    shares::Shares,
    write_deadline::WriteDeadline,
};

/// How a router is served.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Connections at once; more wait in the system's queue.
    pub connections: usize,
    /// Connections of one address at once, unless it is a proxy's; more are closed.
    pub connections_of_one: usize,
    /// Proxies in front, which have the connections of all.
    pub proxies: Vec<Network>,
    /// How long a client may take to say what it wants, and to agree about TLS.
    pub header_time: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub write_time: Duration,
    /// How long a connection lasts at most.
    pub connection_time: Duration,
    /// How long what goes on is waited for at the end.
    pub drain_time: Duration,
    /// TLS, if the service speaks it itself.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            connections: 512,
            connections_of_one: 128,
            proxies: Vec::new(),
            header_time: Duration::from_secs(15),
            write_time: Duration::from_secs(30),
            connection_time: Duration::from_secs(2 * 60 * 60),
            drain_time: Duration::from_secs(20),
            tls: None,
        }
    }
}

/// The largest head of a request, in bytes.
const HEAD_BYTES: usize = 32 << 10;
/// How long after a failure to take a connection the next is tried: the system has no file or memory left.
const AFTER_FAILURE: Duration = Duration::from_millis(200);

/// Serves a router until it is told to stop; then no more connections are taken, and what goes on is waited for. Answers
/// whether all of it came to its end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: ServeOptions,
    stop: CancellationToken,
) -> bool {
    let shares = Shares::new(options.connections_of_one);
    let permits = Arc::new(Semaphore::new(options.connections));
    let tracker = TaskTracker::new();
    // Connections that outlast the drain are dropped, not left behind.
    let end = CancellationToken::new();
    let _ended = end.clone().drop_guard();
    let acceptor = options.tls.clone().map(TlsAcceptor::from);
    loop {
        let accepted = select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        let Some((stream, address, permit)) = accepted else {
            select! {
                () = stop.cancelled() => break,
                () = sleep(AFTER_FAILURE) => continue,
            }
        };
        let is_proxy = options.proxies.iter().any(|network| network.holds(address.ip()));
        let share = if is_proxy { None } else { shares.take(&counted_as(address.ip())) };
        if share.is_none() && !is_proxy {
            tracing::debug!("An address has too many connections");
            continue;
        }
        let stream = WriteDeadline::new(stream, options.write_time);
        let connection = Connection {
            router: router.clone(),
            peer: Peer(address.ip()),
            header_time: options.header_time,
            connection_time: options.connection_time,
            drain_time: options.drain_time,
            stop: stop.clone(),
        };
        let (acceptor, header_time, end) = (acceptor.clone(), options.header_time, end.clone());
        tracker.spawn(async move {
            let served = async {
                match acceptor {
                    None => connection.serve(stream).await,
                    Some(acceptor) => {
                        if let Ok(Ok(stream)) = timeout(header_time, acceptor.accept(stream)).await
                        {
                            connection.serve(stream).await;
                        }
                    }
                }
            };
            select! {
                () = served => {}
                () = end.cancelled() => {}
            }
            drop((permit, share));
        });
    }
    tracker.close();
    timeout(options.drain_time, tracker.wait()).await.is_ok()
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "A connection can't be hurried");
            }
            Some((stream, address, permit))
        }
        Err(error) => {
            tracing::warn!(%error, "A connection could not be taken");
            None
        }
    }
}

/// What one connection needs.
struct Connection {
    router: Router,
    peer: Peer,
    header_time: Duration,
    connection_time: Duration,
    drain_time: Duration,
    stop: CancellationToken,
}

impl Connection {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self { router, peer, header_time, connection_time, drain_time, stop } = self;
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            router.clone().oneshot(request.map(Body::new))
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(header_time).max_buf_size(HEAD_BYTES);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let result = select! {
            result = &mut connection => Some(result),
            () = stop.cancelled() => None,
            () = sleep(connection_time) => None,
        };
        let result = match result {
            Some(result) => Ok(result),
            None => {
                connection.as_mut().graceful_shutdown();
                timeout(drain_time, connection).await
            }
        };
        if let Ok(Err(error)) = result {
            tracing::debug!(%error, "A connection broke off");
        }
    }
}
