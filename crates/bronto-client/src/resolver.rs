//! How the service's name becomes addresses, where that isn't left to the system.

use std::{
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

/// Addresses that are being looked up.
type Found = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Finds the addresses of the endpoint's host, each time a connection is made: whoever may not connect anywhere judges
/// there the very addresses that are connected to. Proxies of the environment are found by the system all the same, and find
/// the host themselves.
#[derive(Clone)]
pub struct Resolver(Arc<dyn Fn(String) -> Found + Send + Sync>);

impl Resolver {
    /// One that asks `find` for the addresses of a name.
    pub fn new(find: impl Fn(String) -> Found + Send + Sync + 'static) -> Self {
        Self(Arc::new(find))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Resolver").finish_non_exhaustive()
    }
}

/// The resolver of one host, and the system's of others.
pub(crate) struct OfHost {
    pub(crate) host: String,
    pub(crate) resolver: Resolver,
}

impl Resolve for OfHost {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        if !name.eq_ignore_ascii_case(&self.host) {
            return Box::pin(async move {
                let found: Vec<SocketAddr> = lookup_host((name, 0)).await?.collect();
                Ok(Box::new(found.into_iter()) as Addrs)
            });
        }
        let found = (self.resolver.0)(name);
        Box::pin(async move {
            // The port is the endpoint's, whatever stands here.
            let found = found.await?.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(found) as Addrs)
        })
    }
}
