//! Where the service listens, and how.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use service::api::{ApiOptions, ServeOptions};
use tokio::net::TcpListener;

use crate::{
    config::{ServiceSettings, Tls},
    failure::Failure,
};

/// How long requests that go on are waited for at the end.
const DRAIN: Duration = Duration::from_secs(10);

/// A listener, with the address that it has.
pub(super) struct Listening {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) options: ServeOptions,
    pub(super) api: ApiOptions,
}

impl Listening {
    /// Listens where the settings say.
    ///
    /// # Errors
    /// When passwords would travel unprotected, the certificate can't be used, or the port is taken.
    pub(super) async fn new(settings: &ServiceSettings) -> Result<Self, Failure> {
        let tls = settings.tls.as_ref().map(server_config).transpose()?;
        let is_secure = tls.is_some() || settings.is_behind_tls;
        if !settings.listen.ip().is_loopback() && !is_secure {
            let message = format!(
                "At `{}` passwords and tokens would travel unprotected through the network",
                settings.listen
            );
            return Err(Failure::configuration(message).with_hint(
                "Give `[service]` a certificate (`tls`), or say `behind_tls = true` if a proxy in front speaks TLS",
            ));
        }
        let taken = |error: std::io::Error| {
            Failure::configuration(format!("The service can't listen at `{}`", settings.listen))
                .caused_by(&error)
                .with_hint("Choose another address with `--listen`, or `listen` in `[service]`")
        };
        let listener = TcpListener::bind(settings.listen).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        if settings.is_behind_tls && settings.trusted_proxies.is_empty() {
            tracing::warn!(
                "All requests seem to come from the proxy, so all who sign in share one allowance of attempts: name the \
                 proxy's address in `trusted_proxies` in `[service]`, and have it set `X-Forwarded-For`"
            );
        }
        let proxies = settings.trusted_proxies.clone();
        let options = ServeOptions { tls, drain_time: DRAIN, proxies, ..ServeOptions::default() };
        let defaults = ApiOptions::default();
        let api = ApiOptions {
            is_secure,
            trusted_proxies: settings.trusted_proxies.clone(),
            row_budget: settings.row_budget,
            billing_anchor: settings.billing_anchor.unwrap_or(defaults.billing_anchor),
            ..defaults
        };
        Ok(Self { listener, address, options, api })
    }

    /// The address, as one writes it into a browser.
    pub(super) fn url(&self) -> String {
        let scheme = if self.options.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

fn server_config(tls: &Tls) -> Result<Arc<ServerConfig>, Failure> {
    let unreadable = |path: &std::path::Path, error: &dyn std::error::Error| {
        Failure::configuration(format!("`{}` can't be used for TLS", path.display()))
            .caused_by(error)
            .with_hint("It must be a file in PEM form: the certificate with its chain, or its key")
    };
    let (certificate, key) = (&tls.certificate, &tls.key);
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(certificate, &error))?;
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .map_err(|error| unreadable(certificate, &error))?;
    Ok(Arc::new(config))
}
