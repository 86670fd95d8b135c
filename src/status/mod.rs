//! A page that shows what every connection is doing (feature `status`).

mod actions;
mod body;
mod cidr;
mod events;
mod guard;
mod history;
mod html;
mod json;
mod openmetrics;
mod query;
mod reply;
mod rows;
mod sampler;
mod summary;
mod text;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Method, Request, Response, StatusCode, header};
use http_body::Body;

pub use self::body::StatusBody;
use self::guard::{Guard, Visitor, forbidden};
use self::query::{Format, Query};
use self::reply::{Refusal, reply, with_headers};
use self::rows::Page;
use self::sampler::Sampler;
use self::summary::Summary;
use crate::{Conn, Connections};

/// A page that shows what every connection is doing, live: for
/// `/debug/connections`.
///
/// It answers the questions that come up when a server is in trouble: how many
/// connections there are, what they do, from whom, since when, and why they end.
/// It is a tower service.
///
/// # In axum
///
/// ```
/// # #[cfg(feature = "axum")]
/// # async fn example(listener: tokio::net::TcpListener) -> std::io::Result<()> {
/// use hyper_connstate::axum::ConnStateServiceExt;
/// use hyper_connstate::{StatusPage, instrument_listener};
///
/// let listener = instrument_listener(listener, ());
/// let page = StatusPage::new(&listener.connections());
/// let app = axum::Router::new().nest_service("/debug/connections", page);
/// axum::serve(listener, app.into_make_service_with_conn_state()).await
/// # }
/// ```
///
/// # In plain hyper
///
/// Make one page, and give each connection its own clone:
///
/// ```
/// # use http::{Request, Response};
/// # use hyper::body::Incoming;
/// # use hyper_connstate::{ConnIo, ConnStateLayer, StatusPage};
/// # use hyper_util::rt::{TokioExecutor, TokioIo};
/// # use hyper_util::server::conn::auto;
/// # use tokio::net::TcpStream;
/// # async fn example(page: StatusPage, io: ConnIo<TcpStream>) {
/// let conn = io.conn().clone();
/// let page = page.for_conn(&conn);
/// let service = hyper::service::service_fn(move |request: Request<Incoming>| {
///     let page = page.clone();
///     async move {
///         match request.uri().path() {
///             "/debug/connections" => page.call(request).await,
///             _ => Ok(Response::default()), // Your own service.
///         }
///     }
/// });
/// let service = ConnStateLayer::for_conn(&conn).layer(service);
/// let builder = auto::Builder::new(TokioExecutor::new());
/// let _ = builder.serve_connection(TokioIo::new(io), service).await;
/// # }
/// ```
///
/// In [`serve`](fn@crate::serve) without a router, turn on
/// [`conn_in_requests`](crate::InstrumentedListener::conn_in_requests).
///
/// # What it serves
///
/// The page takes any path that leads to it. The query says what is wanted.
/// Without a `format`, `Accept` decides: browsers get the page, Prometheus
/// OpenMetrics, curl text.
///
/// | `format` | what it is |
/// |---|---|
/// | `html` | the page |
/// | `json` | all of it for programs; times are in seconds, sizes in bytes |
/// | `text` | the same for a terminal; the first four lines are those of nginx's `stub_status` |
/// | `openmetrics` | the numbers for Prometheus |
/// | `events` | the numbers as server-sent events, once a second |
///
/// | parameter | which connections |
/// |---|---|
/// | `state` | `new`, `active`, `idle`, `hijacked`; several with commas |
/// | `protocol` | `http1`, `http2`, `unknown`; several with commas |
/// | `peer` | whose address is this one, or in this range: `10.0.0.0/8` |
/// | `min_age` | that were accepted so long ago: `90`, `500ms`, `30s`, `5m`, `2h`, `1d` |
/// | `idle_for` | that have been Idle for so long |
/// | `sort` | in the order of `id`, `peer`, `state`, `state_for`, `age`, `protocol`, `requests` or `bytes_received`; backwards with `-` before it |
/// | `limit` | so many, 100 unless it is given, 1,000 at most |
/// | `after` | those behind the one with this id: what the page before said as `next` |
/// | `show` | only these parts: `summary`, `rows`, `closed` |
///
/// What closed is noted from the moment at which the first page was made, so
/// make it when the server starts. The last 256 are listed.
///
/// # Who may look
///
/// By default a request is answered only if all of this is true; else the
/// answer says which one is not:
///
/// - The client is on this machine: its address is a loopback address or a Unix
///   socket's. If the page does not know it, the answer is `500`, and says how
///   to tell.
/// - No proxy has passed it on: there is no `Forwarded`, `X-Forwarded-For`,
///   `Via` or the like. Behind a proxy everyone has the proxy's address.
/// - `Host` is `localhost` or an IP address. A name may be pointed here by
///   whoever owns it, and a browser would let that site read the answer (DNS
///   rebinding).
///
/// [`allow`](Self::allow) replaces these rules with your own. In any case
/// browsers are told to store nothing, to run only the page's own script and to
/// show it in no frame, and other sites' pages are refused. A proxy that adds no
/// header looks like a client on this machine: keep it from passing requests on
/// to the page.
///
/// # What it costs
///
/// Nothing while nobody looks, but for noting each connection that closes. With
/// 100,000 connections the numbers take some seventy milliseconds (`cargo test
/// --release --all-features --test it status::hundred_thousand -- --ignored
/// --nocapture`), on a thread of tokio's for blocking work. While anyone looks
/// they are computed once a second for all viewers together, and less often if
/// that would take more than a tenth of a core. Eight viewers at most can look;
/// others get a `503`. A drain ends the event streams, so that they hold up no
/// shutdown. Requests to the page do not count as use:
/// [`Conn::discount_request`].
#[derive(Clone)]
pub struct StatusPage {
    settings: Arc<Settings>,
    /// Whose requests these are, if it is made for one.
    conn: Option<Conn>,
}

#[derive(Clone)]
struct Settings {
    connections: Connections,
    sampler: Arc<Sampler>,
    allow: Option<Guard>,
    allow_actions: Option<Guard>,
    columns: Arc<[Column]>,
}

/// A column of the program's own.
#[derive(Clone)]
struct Column {
    name: Arc<str>,
    value: Arc<ColumnValue>,
}

type ColumnValue = dyn Fn(&Conn) -> Option<String> + Send + Sync;

impl StatusPage {
    /// A page that shows these connections, to clients on this machine.
    pub fn new(connections: &Connections) -> Self {
        connections.watch_closed();
        let settings = Settings {
            connections: connections.clone(),
            sampler: Arc::new(Sampler::new(connections.clone())),
            allow: None,
            allow_actions: None,
            columns: Arc::new([]),
        };
        Self { settings: Arc::new(settings), conn: None }
    }

    /// Answers requests for which `guard` returns true. It replaces [the rules
    /// that hold by default](Self#who-may-look).
    ///
    /// `guard` gets the request's head, and the connection if it is known.
    ///
    /// ```
    /// # use hyper_connstate::{Connections, StatusPage};
    /// # let connections = Connections::new();
    /// let page = StatusPage::new(&connections).allow(|parts, conn| {
    ///     let ip = conn.and_then(|conn| conn.remote_addr().ip());
    ///     let from_office = ip.is_some_and(|ip| ip.to_string().starts_with("10.1."));
    ///     from_office && parts.headers.get("x-token").is_some_and(|token| token == "secret")
    /// });
    /// ```
    pub fn allow(
        self,
        guard: impl Fn(&Parts, Option<&Conn>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.allow = Some(Arc::new(guard)))
    }

    /// Allows actions to requests for which `guard` returns true: close or drain
    /// a connection, close the idle ones, drain all.
    ///
    /// They have to pass the rules for looking first. An action is a POST of
    /// JSON that a browser says comes from the page itself
    /// (`Sec-Fetch-Site: same-origin`), so that no other site can make a
    /// browser send one:
    ///
    /// ```console
    /// $ curl localhost:8080/debug/connections -H 'Sec-Fetch-Site: same-origin' \
    ///       --json '{"action": "close", "id": 17}'
    /// ```
    ///
    /// The actions are `close` and `drain` with the `id` of a connection
    /// ([`Conn::close`], [`Conn::drain`]), `close_idle`
    /// ([`Connections::close_idle`]), and `drain_all` with `timeout_seconds`,
    /// 30 unless it is given ([`Connections::drain`], which closes the listener
    /// too).
    ///
    /// ```
    /// # use hyper_connstate::{Connections, StatusPage};
    /// # let connections = Connections::new();
    /// // Whoever may look.
    /// let page = StatusPage::new(&connections).allow_actions(|_parts, _conn| true);
    /// ```
    pub fn allow_actions(
        self,
        guard: impl Fn(&Parts, Option<&Conn>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.allow_actions = Some(Arc::new(guard)))
    }

    /// Adds a column: what your program knows of a connection. `value` is called
    /// for each row that is shown, a thousand at most.
    ///
    /// ```
    /// # use hyper_connstate::{Connections, StatusPage};
    /// # let connections = Connections::new();
    /// #[derive(Clone)]
    /// struct User(String);
    ///
    /// // A handler has said `conn.insert(User(…))`.
    /// let page = StatusPage::new(&connections)
    ///     .column("user", |conn| conn.get::<User>().map(|User(name)| name));
    /// ```
    pub fn column(
        self,
        name: impl Into<String>,
        value: impl Fn(&Conn) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let column = Column { name: Arc::from(name.into()), value: Arc::new(value) };
        self.with(|settings| {
            settings.columns = settings.columns.iter().cloned().chain([column]).collect();
        })
    }

    /// The same page for the requests of one connection. Use it where requests
    /// do not carry their [`Conn`].
    pub fn for_conn(&self, conn: &Conn) -> Self {
        Self { settings: self.settings.clone(), conn: Some(conn.clone()) }
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    fn respond<B>(&self, request: Request<B>) -> StatusFuture
    where
        B: Body + Send + 'static,
    {
        let (parts, body) = request.into_parts();
        let visitor = Visitor::of(self.conn.as_ref(), &parts.extensions);
        if let Some(conn) = &visitor.conn {
            // To watch a server is not to use it.
            conn.discount_request();
        }
        let settings = self.settings.clone();
        StatusFuture(Box::pin(async move {
            let is_head = parts.method == Method::HEAD;
            let answer = settings.answer(parts, visitor, body).await;
            let mut answer = answer.unwrap_or_else(Refusal::into_reply);
            if is_head {
                *answer.body_mut() = StatusBody::default();
            }
            answer
        }))
    }
}

impl Settings {
    async fn answer(
        &self,
        parts: Parts,
        visitor: Visitor,
        body: impl Body,
    ) -> Result<Response<StatusBody>, Refusal> {
        match &self.allow {
            None => guard::only_local(&parts, &visitor)?,
            Some(allow) if allow(&parts, visitor.conn.as_ref()) => {}
            Some(_) => {
                return Err(forbidden("the guard given to StatusPage::allow refuses this request"));
            }
        }
        match parts.method {
            Method::GET | Method::HEAD => {
                guard::not_cross_site(&parts.headers)?;
                self.show(&parts, visitor).await
            }
            Method::POST => {
                actions::check(&parts, &visitor, self.allow_actions.as_ref())?;
                actions::act(&self.connections, body).await
            }
            _ => {
                let allow = match self.allow_actions {
                    Some(_) => "GET, HEAD, POST",
                    None => "GET, HEAD",
                };
                let message = format!("the methods of this page are {allow}");
                Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message)
                    .with_header(header::ALLOW, allow))
            }
        }
    }

    async fn show(&self, parts: &Parts, visitor: Visitor) -> Result<Response<StatusBody>, Refusal> {
        let query = Query::parse(&parts.uri, &parts.headers)?;
        let format = query.format;
        if let Some(file) = html::file(format) {
            return Ok(reply(StatusCode::OK, format, file));
        }
        if format == Format::Events {
            // Who asks for the head alone takes nobody's place.
            let body = match parts.method {
                Method::HEAD => StatusBody::default(),
                _ => StatusBody::events(self.sampler.subscribe(visitor.conn)?),
            };
            return Ok(with_headers(StatusCode::OK, format, body));
        }
        let actions = self.allow_actions.as_ref();
        let actions = actions.is_some_and(|guard| guard(parts, visitor.conn.as_ref()));
        let own = visitor.conn.as_ref().map(Conn::id);
        let settings = self.clone();
        let content = off_thread(move || settings.render(&query, own, actions)).await;
        let failed = || Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "a column panicked");
        Ok(reply(StatusCode::OK, format, content.ok_or_else(failed)??))
    }

    /// Looks at all connections.
    fn render(
        &self,
        query: &Query,
        own: Option<crate::ConnId>,
        actions: bool,
    ) -> Result<bytes::Bytes, Refusal> {
        let summary = || {
            let mut summary = Summary::of(&self.connections);
            if let Some(history) = self.sampler.history() {
                summary.history = history;
            }
            summary
        };
        if query.format == Format::OpenMetrics {
            return Ok(openmetrics::OpenMetrics(&summary()).to_string().into());
        }
        let page = || Page::select(&self.connections, query, &self.columns);
        let page = query.show.rows.then(page).transpose()?;
        let summary = query.show.summary.then(summary);
        let closed = query.show.closed.then(|| self.connections.closings().last);
        let (summary, page, closed) = (summary.as_ref(), page.as_ref(), closed.as_deref());
        let columns = &*self.columns;
        Ok(match query.format {
            Format::Json => {
                let document = json::Document { summary, page, closed, columns, own, actions };
                json::document(&document)
            }
            _ => text::Document { summary, page, closed, columns }.to_string().into(),
        })
    }
}

/// Runs what takes long where it holds up no connection's task. `None` if it
/// panicked, or the runtime is about to end.
async fn off_thread<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(f).await.ok(),
        Err(_) => Some(f()),
    }
}

impl<B> tower_service::Service<Request<B>> for StatusPage
where
    B: Body + Send + 'static,
{
    type Response = Response<StatusBody>;
    type Error = Infallible;
    type Future = StatusFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> StatusFuture {
        self.respond(request)
    }
}

impl StatusPage {
    /// Answers a request: for services of your own, as above. (It is no hyper
    /// service, so that [`serve`](fn@crate::serve) knows which of the two to
    /// take it for.)
    pub fn call<B>(&self, request: Request<B>) -> StatusFuture
    where
        B: Body + Send + 'static,
    {
        self.respond(request)
    }
}

impl fmt::Debug for StatusPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusPage")
            .field("connections", &self.settings.connections)
            .finish_non_exhaustive()
    }
}

/// The answer of a [`StatusPage`], which never fails.
pub struct StatusFuture(Pin<Box<dyn Future<Output = Response<StatusBody>> + Send>>);

impl Future for StatusFuture {
    type Output = Result<Response<StatusBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for StatusFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusFuture").finish_non_exhaustive()
    }
}
