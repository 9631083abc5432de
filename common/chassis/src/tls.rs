//! TLS with rustls and ring: mutual between components, certificates from PEM files.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use axum_server::tls_rustls::RustlsConfig;
use fogflow_config::HttpsConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_util::sync::CancellationToken;

use crate::errors::UsageError;

const LOOK: Duration = Duration::from_secs(2);

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Makes ring the provider of every library of the process that does not name one. Later calls change nothing.
pub(crate) fn install_provider() {
    let _ = ring::default_provider().install_default();
}

/// Whom a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clients {
    /// Those with a certificate signed by our CA.
    Certified,
    /// Also those without one; a wrong one is refused.
    Any,
}

/// A server that shows our certificate.
pub(crate) fn server_config(https: &HttpsConfig, clients: Clients) -> anyhow::Result<Arc<ServerConfig>> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(&https.my_ca)?), provider());
    let verifier = if clients == Clients::Any { verifier.allow_unauthenticated() } else { verifier }
        .build()
        .map_err(|error| UsageError(format!("https.my_ca {}: {error}", https.my_ca)))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .context("TLS protocol versions")?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(&https.my_certificate)?, key(&https.my_key)?)
        .map_err(|error| UsageError(format!("https.my_certificate and https.my_key: {error}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Looks at the certificate files every [`LOOK`] and takes new ones over for new connections. Files that cannot be used (one of two
/// is written, the other not yet) leave the old ones in force.
pub(crate) async fn renew(config: RustlsConfig, https: HttpsConfig, clients: Clients, shutdown: CancellationToken) {
    let mut known = times(&https);
    while tokio::time::timeout(LOOK, shutdown.cancelled()).await.is_err() {
        let current = times(&https);
        if current == known {
            continue;
        }
        match server_config(&https, clients) {
            Ok(new) => {
                config.reload_from_config(new);
                known = current;
                tracing::info!("the new certificates are in use");
            }
            Err(error) => tracing::warn!(error = format!("{error:#}"), "the new certificates cannot be used; the old ones stay"),
        }
    }
}

fn times(https: &HttpsConfig) -> [Option<SystemTime>; 3] {
    [&https.my_certificate, &https.my_key, &https.my_ca].map(|file| std::fs::metadata(file).and_then(|meta| meta.modified()).ok())
}

/// A client: with our certificate and CA when TLS is enabled, else with the system's CAs, if it has any.
pub(crate) fn client_config(https: &HttpsConfig) -> anyhow::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().context("TLS protocol versions")?;
    if https.enabled {
        return builder
            .with_root_certificates(roots(&https.my_ca)?)
            .with_client_auth_cert(chain(&https.my_certificate)?, key(&https.my_key)?)
            .map_err(|error| UsageError(format!("https.my_certificate and https.my_key: {error}")).into());
    }
    let mut store = RootCertStore::empty();
    // An image without CA files is fine as long as nobody is called by https.
    let (_added, _ignored) = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Ok(builder.with_root_certificates(store).with_no_client_auth())
}

fn roots(file: &str) -> anyhow::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in chain(file)? {
        store.add(certificate).map_err(|error| UsageError(format!("https.my_ca {file}: {error}")))?;
    }
    Ok(store)
}

fn chain(file: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).map_err(|error| UsageError(format!("{file}: {error}")))?.collect();
    let certificates = certificates.map_err(|error| UsageError(format!("{file}: {error}")))?;
    if certificates.is_empty() {
        return Err(UsageError(format!("{file}: no certificate in it")).into());
    }
    Ok(certificates)
}

fn key(file: &str) -> anyhow::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| UsageError(format!("{file}: {error}")).into())
}
