//! TLS with a certificate made for the test.

use std::sync::{Arc, LazyLock};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

static IDENTITY: LazyLock<Identity> = LazyLock::new(|| {
    let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Identity {
        certificate: identity.cert.der().clone(),
        key: PrivateKeyDer::try_from(identity.key_pair.serialize_der()).unwrap(),
    }
});

/// The certificate and its key (PKCS #8), as DER.
pub fn identity() -> (Vec<u8>, Vec<u8>) {
    (IDENTITY.certificate.to_vec(), IDENTITY.key.secret_der().to_vec())
}

pub fn acceptor() -> TlsAcceptor {
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![IDENTITY.certificate.clone()], IDENTITY.key.clone_key())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

fn client_config(alpn: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(IDENTITY.certificate.clone()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    Arc::new(config)
}

pub async fn connect<T>(stream: T, alpn: &str) -> TlsStream<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(client_config(alpn)).connect(name, stream).await.unwrap()
}

/// A client whose bytes the test carries.
pub fn client(alpn: &str) -> ClientConnection {
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(client_config(alpn), name).unwrap()
}
