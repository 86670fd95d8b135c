//! The certificate of a run, made for it and left behind for nobody.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::protocol::Protocol;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Where the certificate and its key lie, as PEM. Deleted on drop.
pub struct Identity {
    directory: PathBuf,
}

impl Identity {
    /// Makes one for 127.0.0.1.
    pub fn generate() -> Result<Self> {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/restart");
        let identity = Self { directory: target.join(std::process::id().to_string()) };
        fs::create_dir_all(&identity.directory)?;
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let generated = rcgen::generate_simple_self_signed(names)?;
        fs::write(identity.certificate(), generated.cert.pem())?;
        fs::write(identity.key(), generated.key_pair.serialize_pem())?;
        Ok(identity)
    }

    pub fn certificate(&self) -> PathBuf {
        self.directory.join("certificate.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.directory.join("key.pem")
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        // What cannot be deleted lies under `target`, where it does no harm.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// For a server that speaks both protocols.
pub fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor> {
    let certificate = CertificateDer::from_pem_file(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// For a client that trusts this certificate and speaks one protocol.
pub fn connector(certificate: &Path, protocol: Protocol) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![match protocol {
        Protocol::Http1 => b"http/1.1".to_vec(),
        Protocol::Http2 => b"h2".to_vec(),
    }];
    Ok(TlsConnector::from(Arc::new(config)))
}
