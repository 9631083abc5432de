//! From a libpq URL to a pool of connections.
//!
//! Only single statements without parameters of the session are used, so a pooler in transaction mode may sit between.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::model::StoreError;

/// Connections of one store, beside the one that listens.
const POOL_SIZE: usize = 5;
/// Limit for opening a connection and for waiting for a free one.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// A parsed URL with what is needed to connect.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
}

impl Target {
    /// Parses a libpq URL. Beyond what the client library knows: `sslmode=verify-ca` and `verify-full` (both check chain
    /// and name) and `sslrootcert`.
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        let (plain, mode, root) = split_tls(url);
        // The library's message names the wrong option, never the password.
        let mut config: Config = plain.parse().map_err(|error| StoreError::Unavailable(format!("store URL: {error}")))?;
        // A server that is gone without a word is noticed within 10 s, also by a connection at rest: that asks after 5 s, and again.
        config.connect_timeout(CONNECT_LIMIT).tcp_user_timeout(Duration::from_secs(10));
        config.keepalives_idle(Duration::from_secs(5)).keepalives_interval(Duration::from_secs(2));
        if config.get_application_name().is_none() {
            config.application_name("fogflow");
        }
        let tls = MakeRustlsConnect::new(tls_config(mode.as_deref(), root.as_deref())?);
        Ok(Target { config, tls })
    }

    /// The pool. It opens connections when they are needed.
    pub(super) fn pool(&self) -> Result<Pool, StoreError> {
        let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(self.config.clone(), self.tls.clone(), manager_config);
        Pool::builder(manager)
            .max_size(POOL_SIZE)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT_LIMIT))
            .create_timeout(Some(CONNECT_LIMIT))
            .build()
            .map_err(|error| StoreError::Unavailable(error.to_string()))
    }
}

/// A connection from the pool.
pub(super) async fn connection(pool: &Pool) -> Result<Object, StoreError> {
    pool.get().await.map_err(|error| match error {
        deadpool_postgres::PoolError::Backend(error) => error_of(&error),
        other => StoreError::Unavailable(format!("no connection to PostgreSQL: {other}")),
    })
}

/// Our error for one of the server or of the connection.
pub(super) fn error_of(error: &tokio_postgres::Error) -> StoreError {
    use tokio_postgres::error::SqlState;
    match error.as_db_error() {
        Some(db) if *db.code() == SqlState::DISK_FULL => StoreError::Full,
        Some(db) => StoreError::Unavailable(format!("PostgreSQL: {} ({})", db.message(), db.code().code())),
        None => StoreError::Unavailable(format!("PostgreSQL: {}", chain(error))),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

/// Takes the options that the client library does not know out of the URL.
fn split_tls(url: &str) -> (String, Option<String>, Option<String>) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), None, None) };
    let (mut kept, mut mode, mut root) = (Vec::new(), None, None);
    for option in query.split('&') {
        match option.split_once('=') {
            Some(("sslmode", value @ ("verify-ca" | "verify-full"))) => {
                mode = Some(value.to_owned());
                kept.push("sslmode=require".to_owned());
            }
            Some(("sslmode", "allow")) => kept.push("sslmode=prefer".to_owned()),
            Some(("sslrootcert", value)) => root = Some(value.replace("%2F", "/").replace("%2f", "/")),
            _ => kept.push(option.to_owned()),
        }
    }
    let url = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
    (url, mode, root)
}

fn tls_config(mode: Option<&str>, root: Option<&str>) -> Result<ClientConfig, StoreError> {
    let wrong = |error: &dyn std::fmt::Display| StoreError::Unavailable(format!("TLS for the store: {error}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().map_err(|error| wrong(&error))?;
    // As with libpq, `require` alone encrypts and checks nothing, unless a root certificate is given.
    if mode.is_none() && root.is_none() {
        let verifier = Arc::new(Anyone(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    match root {
        Some(path) => {
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
                roots.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Accepts any certificate, but only real signatures.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_options_of_libpq_are_understood() {
        let url = "postgres://u:p@h/db?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&connect_timeout=3";
        let (plain, mode, root) = split_tls(url);
        assert_eq!(plain, "postgres://u:p@h/db?sslmode=require&connect_timeout=3");
        assert_eq!((mode.as_deref(), root.as_deref()), (Some("verify-full"), Some("/etc/ca.pem")));
        assert_eq!(split_tls("postgres://h/db").0, "postgres://h/db");
    }

    #[test]
    fn a_wrong_url_is_reported_without_its_password() {
        for url in ["nonsense", "postgres://u:geheim@h:port/db", "postgres://u:geheim@h/db?sslmode=maybe", "postgres://u:geheim@h/?x=y"] {
            let error = Target::parse(url).map(|_| ()).unwrap_err().to_string();
            assert!(!error.contains("geheim"), "{error}");
        }
    }
}
