//! TLS, always verified: with the system's root certificates, or with those of a file.

use std::sync::Arc;

use replication::destination::{DestinationError, DestinationErrorKind};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::PostgresConfig;

/// The connector for a configuration that uses TLS; none for one that doesn't.
pub(crate) fn connector(
    config: &PostgresConfig,
) -> Result<Option<MakeRustlsConnect>, DestinationError> {
    if !config.tls {
        return Ok(None);
    }
    // The provider is named, because rustls panics when several are compiled in and none was chosen.
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| {
            DestinationError::new(
                DestinationErrorKind::Bug,
                "TLS could not be set up",
                "Report this defect",
            )
            .caused_by(error)
        })?
        .with_root_certificates(roots(config)?)
        .with_no_client_auth();
    Ok(Some(MakeRustlsConnect::new(client)))
}

fn roots(config: &PostgresConfig) -> Result<RootCertStore, DestinationError> {
    let mut roots = RootCertStore::empty();
    let Some(file) = &config.root_certificates else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if roots.is_empty() {
            Err(DestinationError::new(
                DestinationErrorKind::Configuration,
                "This machine has no root certificates, so no server's certificate can be verified",
                "Install them (package `ca-certificates`), or name a file by `sslrootcert=FILE` in the address",
            ))
        } else {
            Ok(roots)
        };
    };
    let unreadable = || {
        DestinationError::new(
            DestinationErrorKind::Configuration,
            format!("The root certificates in `{}` can't be read", file.display()),
            "Name a readable file of certificates in PEM form by `sslrootcert` in the address",
        )
    };
    for certificate in
        CertificateDer::pem_file_iter(file).map_err(|error| unreadable().caused_by(error))?
    {
        let certificate = certificate.map_err(|error| unreadable().caused_by(error))?;
        roots.add(certificate).map_err(|error| unreadable().caused_by(error))?;
    }
    if roots.is_empty() { Err(unreadable()) } else { Ok(roots) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("empty.pem");
        std::fs::write(&file, "nothing").unwrap();
        for file in [file.as_path(), &folder.path().join("missing.pem")] {
            let config = PostgresConfig::parse("postgres://u@h/d", "s")
                .unwrap()
                .with_root_certificates(file);
            let error = connector(&config).err().unwrap();
            assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
        }
    }
}
