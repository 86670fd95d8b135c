//! One connection, from its handshake to its end.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::AsyncWrite;

use super::limits::Limits;
use super::transport::Transport;
use crate::tracker::Fact;
use crate::{Conn, Handshake, diagnostics};

type BoxError = Box<dyn Error + Send + Sync>;

/// How long a make-service may take.
const MAKE_SERVICE_TIMEOUT: Duration = Duration::from_secs(30);

/// What all connections of a server share.
pub(super) struct Server<T> {
    pub(super) http: Builder<TokioExecutor>,
    pub(super) transport: T,
}

impl<T> Server<T> {
    pub(super) async fn run<I, S, B>(
        self: Arc<Self>,
        handshake: Handshake<I>,
        make: impl Future<Output = Result<S, BoxError>>,
    ) where
        T: Transport<I>,
        S: hyper::service::Service<
                Request<Incoming>,
                Response = Response<B>,
                Error: Into<BoxError>,
                Future: Send + 'static,
            >,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let Some(io) = self.transport.handshake(handshake).await else {
            return;
        };
        let conn = io.conn().clone();
        if conn.tracker().is_refused() {
            let mut io = pin!(io);
            // Tells the client, and the service nothing.
            let _ = poll_fn(|cx| io.as_mut().poll_shutdown(cx)).await;
            return;
        }
        // Nobody reads from the client meanwhile, or sees it go.
        let made = tokio::time::timeout(MAKE_SERVICE_TIMEOUT, async {
            tokio::select! {
                biased;
                () = conn.until_closing() => None,
                made = make => Some(made),
            }
        });
        let service = match made.await {
            Ok(None) => return,
            Ok(Some(Ok(service))) => service,
            Ok(Some(Err(error))) => return diagnostics::make_service_failed(&conn, &*error),
            Err(elapsed) => {
                conn.record(Fact::TimedOut);
                return diagnostics::make_service_failed(&conn, &elapsed);
            }
        };
        // Pinned here and driven from elsewhere: as an argument it would be
        // kept twice, for as long as the connection lives.
        let http = pin!(self.http.serve_connection_with_upgrades(TokioIo::new(io), service));
        if let Err(error) = drive(&conn, http).await {
            diagnostics::connection_failed(&conn, &*error);
        }
    }
}

/// A connection of hyper's that can be told to come to an end.
trait Graceful: Future<Output = Result<(), BoxError>> {
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl<I, S, B> Graceful
    for hyper_util::server::conn::auto::UpgradeableConnection<'_, I, S, TokioExecutor>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    S: hyper::service::Service<
            Request<Incoming>,
            Response = Response<B>,
            Error: Into<BoxError>,
            Future: Send + 'static,
        >,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

/// Polls the connection, records what can be known only here (when it waits),
/// and bounds what hyper does not.
async fn drive(conn: &Conn, mut http: Pin<&mut impl Graceful>) -> Result<(), BoxError> {
    conn.record(Fact::Managed);
    let mut limits = Limits::default();
    let result = poll_fn(|cx| {
        if limits.begins_shutdown(conn) {
            http.as_mut().graceful_shutdown();
        }
        let poll = http.as_mut().poll(cx);
        if poll.is_pending() {
            let quiet = conn.tracker().is_quiet();
            if conn.record(Fact::PollEnded) {
                cx.waker().wake_by_ref();
            }
            if conn.is_draining() && !quiet && conn.tracker().is_quiet() {
                // The stream has to see that nothing is under way.
                cx.waker().wake_by_ref();
            }
            if let Some(error) = limits.poll(conn, cx) {
                return Poll::Ready(Err(error.into()));
            }
        }
        poll
    })
    .await;
    if let Err(error) = &result {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_timeout() {
                conn.record(Fact::TimedOut);
            } else if error.is_parse() {
                conn.record(Fact::ProtocolError);
            }
        }
    }
    result
}
