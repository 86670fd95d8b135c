//! The servers to compare. Their handlers answer at once, and read nothing of
//! the upload.

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::header::{LOCATION, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_connstate::axum::ConnStateServiceExt;
use hyper_connstate::{Accept, ConnStateLayer, InstrumentedListener, instrument_listener};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower::service_fn;

use crate::support::go::Go;
use crate::support::nodelay::NoDelay;

pub const BODY: &str = "an answer that is longer than nothing\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Go,
    Hyper,
    Axum,
    Loop { lingers: bool },
    Serve { lingers: bool },
    AxumServe { lingers: bool },
}

impl Server {
    pub const ALL: [Self; 9] = [
        Self::Go,
        Self::Hyper,
        Self::Axum,
        Self::Loop { lingers: true },
        Self::Serve { lingers: true },
        Self::AxumServe { lingers: true },
        Self::Loop { lingers: false },
        Self::Serve { lingers: false },
        Self::AxumServe { lingers: false },
    ];

    pub fn argument(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Hyper => "hyper",
            Self::Axum => "axum",
            Self::Loop { lingers: true } => "loop",
            Self::Serve { lingers: true } => "serve",
            Self::AxumServe { lingers: true } => "axum-serve",
            Self::Loop { lingers: false } => "loop-off",
            Self::Serve { lingers: false } => "serve-off",
            Self::AxumServe { lingers: false } => "axum-serve-off",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Go => "Go's `net/http`",
            Self::Hyper => "bare hyper-util",
            Self::Axum => "bare `axum::serve`",
            Self::Loop { lingers: true } => "hyper-connstate, a loop of one's own",
            Self::Serve { lingers: true } => "hyper-connstate, `serve`",
            Self::AxumServe { lingers: true } => "hyper-connstate, `axum::serve`",
            Self::Loop { lingers: false } => "… a loop of one's own, `lingering_close(false)`",
            Self::Serve { lingers: false } => "… `serve`, `lingering_close(false)`",
            Self::AxumServe { lingers: false } => "… `axum::serve`, `lingering_close(false)`",
        }
    }

    /// `None` for Go's where there is no Go.
    pub fn start(self, go: Option<&Go>) -> Result<Option<Running>, Box<dyn Error>> {
        if self == Self::Go {
            return go.map(start_go).transpose();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let addr = listener.local_addr()?;
        let listener = NoDelay(listener);
        runtime.spawn(async move {
            if let Err(error) = self.serve(listener).await {
                eprintln!("{}: {error}", self.argument());
            }
        });
        Ok(Some(Running { addr, _process: Process::Runtime(runtime) }))
    }

    async fn serve(self, mut listener: NoDelay) -> io::Result<()> {
        let instrument =
            |listener, lingers| instrument_listener(listener, ()).lingering_close(lingers);
        match self {
            Self::Go => Ok(()),
            Self::Hyper => loop {
                let (io, _) = Accept::accept(&mut listener).await?;
                tokio::spawn(async move {
                    let service = TowerToHyperService::new(service_fn(handle));
                    let builder = Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(io), service).await;
                });
            },
            Self::Axum => axum::serve(listener, router()).await,
            Self::Loop { lingers } => accept_loop(instrument(listener, lingers)).await,
            Self::Serve { lingers } => {
                let listener = instrument(listener, lingers);
                hyper_connstate::serve(listener, service_fn(handle)).await.map(drop)
            }
            Self::AxumServe { lingers } => {
                let app = router().into_make_service_with_conn_state();
                axum::serve(instrument(listener, lingers), app).await
            }
        }
    }
}

async fn accept_loop(mut listener: InstrumentedListener<NoDelay>) -> io::Result<()> {
    loop {
        let (io, conn) = listener.accept().await?;
        tokio::spawn(async move {
            let service = ConnStateLayer::for_conn(&conn).layer(service_fn(handle));
            let service = TowerToHyperService::new(service);
            let builder = Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(io), service).await;
        });
    }
}

fn router() -> Router {
    Router::new().fallback_service(service_fn(async |request: Request<Body>| {
        Ok::<_, Infallible>(answer(request.uri().path()).map(Body::new))
    }))
}

async fn handle(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(answer(request.uri().path()))
}

fn answer(path: &str) -> Response<Full<Bytes>> {
    let (status, header): (_, Option<(HeaderName, &str)>) = match path {
        "/too-large" => (StatusCode::PAYLOAD_TOO_LARGE, None),
        "/unauthorized" => {
            (StatusCode::UNAUTHORIZED, Some((WWW_AUTHENTICATE, "Basic realm=\"test\"")))
        }
        "/moved" => (StatusCode::TEMPORARY_REDIRECT, Some((LOCATION, "/elsewhere"))),
        _ => (StatusCode::NOT_FOUND, None),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(BODY.as_bytes())));
    *response.status_mut() = status;
    if let Some((name, value)) = header {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_str(value).expect("a header's value"));
    }
    response
}

/// A server that runs until this is dropped.
pub struct Running {
    pub addr: SocketAddr,
    _process: Process,
}

#[allow(dead_code, reason = "kept for being dropped")]
enum Process {
    Runtime(Runtime),
    Go(Child, ChildStdin),
}

fn start_go(go: &Go) -> Result<Running, Box<dyn Error>> {
    let mut command = Command::new(&go.program);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let stdin = child.stdin.take().ok_or("no standard input")?;
    let stdout = child.stdout.take().ok_or("no standard output")?;
    let mut port = String::new();
    BufReader::new(stdout).read_line(&mut port)?;
    let addr = SocketAddr::from(([127, 0, 0, 1], port.trim().parse()?));
    // It ends when its standard input does.
    Ok(Running { addr, _process: Process::Go(child, stdin) })
}
