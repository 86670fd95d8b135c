//! From what the user gives to a service for each connection.

use std::error::Error;
use std::future::Future;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::service::TowerToHyperService;
use tower_service::Service;

use crate::{Conn, ConnStateService};

type BoxError = Box<dyn Error + Send + Sync>;

/// What [`serve`](fn@crate::serve) can serve: a service of `Request<Incoming>`,
/// tower's or hyper's, or a make-service, a tower service of [`Conn`] that gives
/// a tower service.
///
/// It is implemented for all of them; `Kind` only keeps them apart and is
/// inferred.
///
/// Sealed: its methods may change.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a tower or hyper service of `Request<Incoming>` nor a \
               make-service of `Conn`",
    note = "a service must be `Service<Request<hyper::body::Incoming>>` with a `Response<B>` \
            where `B: http_body::Body`, `Clone + Send + 'static`, and have a future that is `Send`",
    note = "for axum, `Router` needs its state (`with_state`), and goes best as \
            `app.into_make_service_with_conn_state()`"
)]
pub trait MakeConnService<Kind>: sealed::Sealed<Kind> + Send + 'static {
    /// The body of responses.
    #[doc(hidden)]
    type Body: Body<Data: Send, Error: Into<BoxError>> + Send + 'static;
    /// The service of one connection.
    #[doc(hidden)]
    type Service: hyper::service::Service<
            Request<Incoming>,
            Response = Response<Self::Body>,
            Error: Into<BoxError>,
            Future: Send + 'static,
        > + Send
        + 'static;
    /// Waits for the service of one connection.
    #[doc(hidden)]
    type Future: Future<Output = Result<Self::Service, BoxError>> + Send + 'static;

    /// Makes the service of this connection.
    #[doc(hidden)]
    fn for_conn(&mut self, conn: &Conn) -> Self::Future;
}

mod sealed {
    pub trait Sealed<Kind> {}
    impl<S> Sealed<super::kind::Service> for S {}
    impl<S> Sealed<super::kind::HyperService> for S {}
    impl<M, S> Sealed<super::kind::MakeService<S>> for M {}
}

/// The kinds of what [`serve`](fn@crate::serve) can serve.
pub mod kind {
    /// A tower service.
    #[derive(Debug)]
    pub struct Service(());
    /// A service of hyper's: `hyper::service::service_fn`.
    #[derive(Debug)]
    pub struct HyperService(());
    /// A tower service that makes services.
    #[derive(Debug)]
    pub struct MakeService<S>(std::marker::PhantomData<S>);
}

/// A tower service whose requests and responses are tracked.
type TrackedService<S> = ConnStateService<TowerToHyperService<S>>;

fn tracked<S>(conn: &Conn, service: S) -> TrackedService<S> {
    // Outside of everything, what waits for the service to be ready included.
    ConnStateService::outermost(TowerToHyperService::new(service), conn.clone())
}

impl<S, B> MakeConnService<kind::Service> for S
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    S::Future: 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Body = crate::ConnStateBody<B>;
    type Service = TrackedService<S>;
    type Future = std::future::Ready<Result<TrackedService<S>, BoxError>>;

    fn for_conn(&mut self, conn: &Conn) -> Self::Future {
        std::future::ready(Ok(tracked(conn, self.clone())))
    }
}

impl<S, B> MakeConnService<kind::HyperService> for S
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Body = crate::ConnStateBody<B>;
    type Service = ConnStateService<S>;
    type Future = std::future::Ready<Result<ConnStateService<S>, BoxError>>;

    fn for_conn(&mut self, conn: &Conn) -> Self::Future {
        std::future::ready(Ok(ConnStateService::outermost(self.clone(), conn.clone())))
    }
}

impl<M, S, B> MakeConnService<kind::MakeService<S>> for M
where
    M: Service<Conn, Response = S, Error: Into<BoxError>, Future: Send + 'static>,
    M: Clone + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + 'static,
    S::Future: 'static,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Body = crate::ConnStateBody<B>;
    type Service = TrackedService<S>;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<TrackedService<S>, BoxError>> + Send>>;

    fn for_conn(&mut self, conn: &Conn) -> Self::Future {
        let mut make = self.clone();
        let conn = conn.clone();
        // In the connection's own task, so that a slow one holds up no other.
        Box::pin(async move {
            std::future::poll_fn(|cx| make.poll_ready(cx)).await.map_err(Into::into)?;
            let service = make.call(conn.clone()).await.map_err(Into::into)?;
            Ok(tracked(&conn, service))
        })
    }
}
