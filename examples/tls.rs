//! TLS with HTTP/1 and HTTP/2, in an accept loop of your own: connections are New
//! when accepted, and the handshake is no request.
//!
//! ```console
//! $ cargo run --example tls
//! listening on https://127.0.0.1:8443
//! Client: 127.0.0.1:39778 - new state: new
//! Client: 127.0.0.1:39778 - new state: active
//! Client: 127.0.0.1:39778 - new state: idle
//! Client: 127.0.0.1:39778 - new state: closed
//! ```
//!
//! when in another terminal:
//!
//! ```console
//! $ curl --insecure --http1.1 https://localhost:8443
//! Hello over HTTP/1.1
//! ```
//!
//! Over HTTP/2 the connection is active and idle once more, for the client's
//! preface. The example makes its own certificate. Another address than
//! 127.0.0.1:8443 goes as the first argument.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_connstate::{Conn, ConnState, ConnStateLayer, Handshake, instrument_listener};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:8443".to_owned());
    let listener = TcpListener::bind(addr).await?;
    eprintln!("listening on https://{}", listener.local_addr()?);

    let mut listener = instrument_listener(listener, |conn: &Conn, state: ConnState| {
        println!("Client: {} - new state: {state}", conn.remote_addr());
    });
    let acceptor = TlsAcceptor::from(Arc::new(server_config()?));

    loop {
        let handshake = listener.accept_handshake().await?;
        let acceptor = acceptor.clone();
        // A task each, so that a slow handshake does not hold up the others.
        tokio::spawn(async move {
            let client = handshake.conn().remote_addr().clone();
            if let Err(error) = serve(handshake, acceptor).await {
                eprintln!("Client: {client} - {error}");
            }
        });
    }
}

async fn serve(
    handshake: Handshake<TcpStream>,
    acceptor: TlsAcceptor,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let complete = handshake.complete(|tcp| acceptor.accept(tcp));
    let io = timeout(HANDSHAKE_DEADLINE, complete).await??;
    let service = ConnStateLayer::for_conn(io.conn()).layer(service_fn(hello));
    auto::Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(io), service)
        .await
}

async fn hello(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    Ok(Response::new(format!("Hello over {:?}\n", request.version())))
}

/// A server with a certificate of its own for `localhost`, and both protocols.
fn server_config() -> Result<ServerConfig, Box<dyn Error + Send + Sync>> {
    let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivateKeyDer::try_from(identity.key_pair.serialize_der())?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![identity.cert.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
