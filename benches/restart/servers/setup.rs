//! What every server is given: its socket, perhaps a certificate, and the
//! signal at which it ends.

use std::error::Error;
use std::future::Future;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;
use hyper_connstate::Policies;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_rustls::TlsAcceptor;

use crate::identity;
use crate::support::nodelay::NoDelay;

/// How long a graceful shutdown may take.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// A server whose parent has died ends by itself.
const LIFETIME: Duration = Duration::from_secs(300);

/// A server's command line.
#[derive(Debug, Default)]
pub struct Options {
    /// Speak TLS, with this certificate and key.
    certificate: Option<(PathBuf, PathBuf)>,
    /// End each connection at every so many of its requests.
    rotate: Option<u64>,
    /// How many requests a connection may carry.
    max_requests: Option<u64>,
    /// How old a connection may become.
    max_age: Option<Duration>,
}

impl Options {
    pub fn read(args: &mut lexopt::Parser) -> Result<Self, Box<dyn Error>> {
        let (mut certificate, mut key, mut rotate) = (None, None, None);
        let (mut max_requests, mut max_age) = (None, None);
        while let Some(arg) = args.next()? {
            match arg {
                Long("certificate") => certificate = Some(PathBuf::from(args.value()?)),
                Long("key") => key = Some(PathBuf::from(args.value()?)),
                Long("rotate") => rotate = Some(args.value()?.parse()?),
                Long("max-requests") => max_requests = Some(args.value()?.parse()?),
                Long("max-age") => {
                    max_age = Some(Duration::from_millis(args.value()?.parse()?));
                }
                _ => return Err(arg.unexpected().into()),
            }
        }
        Ok(Self { certificate: certificate.zip(key), rotate, max_requests, max_age })
    }
}

pub struct Setup {
    pub listener: NoDelay,
    pub tls: Option<TlsAcceptor>,
    pub rotate: Option<u64>,
    pub policies: Policies,
    terminate: Signal,
}

impl Setup {
    /// Takes the socket, and says that the server is ready: what comes from
    /// now on waits in the socket's queue until the server accepts.
    pub fn new(options: &Options) -> Result<Self, Box<dyn Error>> {
        std::thread::spawn(|| {
            std::thread::sleep(LIFETIME);
            std::process::exit(1);
        });
        let terminate = signal(SignalKind::terminate())?;
        let socket = std::net::TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
        socket.set_nonblocking(true)?;
        let listener = NoDelay(TcpListener::from_std(socket)?);
        let tls = match &options.certificate {
            Some((certificate, key)) => Some(identity::acceptor(certificate, key)?),
            None => None,
        };
        println!("ready");
        io::stdout().flush()?;
        let policies = Policies::new().max_requests(options.max_requests).max_age(options.max_age);
        Ok(Self { listener, tls, rotate: options.rotate, policies, terminate })
    }

    /// The parts: the listener, TLS, and a future that resolves at SIGTERM.
    pub fn split(
        self,
    ) -> (NoDelay, Option<TlsAcceptor>, impl Future<Output = ()> + Send + 'static) {
        let mut terminate = self.terminate;
        let terminated = async move {
            // It never ends otherwise.
            terminate.recv().await;
        };
        (self.listener, self.tls, terminated)
    }
}
