//! One connection, from its handshake to its end.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;

use super::tls::Transport;
use crate::tracker::{Closing, Fact};
use crate::{Conn, ConnState, Handshake, Protocol, diagnostics};

type BoxError = Box<dyn Error + Send + Sync>;

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
        let made = tokio::select! {
            biased;
            () = conn.until_closing() => return,
            made = make => made,
        };
        let service = match made {
            Ok(service) => service,
            Err(error) => return diagnostics::make_service_failed(&conn, &*error),
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

/// Polls the connection, and tells what can be known only here: when it waits,
/// and that it is to be drained.
async fn drive(conn: &Conn, mut http: Pin<&mut impl Graceful>) -> Result<(), BoxError> {
    let mut draining = false;
    conn.record(Fact::Managed);
    let result = poll_fn(|cx| {
        // While hyper-util finds out which protocol it is, it would give up a
        // request whose first bytes are there.
        let undecided =
            || conn.state() == ConnState::Active && conn.protocol() == Protocol::Unknown;
        if !draining && conn.is_draining() && !undecided() {
            draining = true;
            http.as_mut().graceful_shutdown();
        }
        let poll = http.as_mut().poll(cx);
        if poll.is_pending() {
            if conn.record(Fact::PollEnded) {
                cx.waker().wake_by_ref();
            }
            // As a rule hyper has been told by its stream. But there are times
            // when it does not touch it.
            if conn.closing() == Some(Closing::Abort) {
                return Poll::Ready(Err("the program has closed the connection".into()));
            }
        }
        poll
    })
    .await;
    if let Err(error) = &result {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_parse() {
                conn.record(Fact::ProtocolError);
            }
        }
    }
    result
}
