//! A whole connection: hyper-util's server, this crate's stream and layer, and
//! a client, a stream, handlers and a program that do what the input says.
//! What has to be true of it is in `checks`.

#![no_main]

mod checks;
mod executor;
mod script;
mod service;
mod transport;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::task::{Poll, Waker};

use hyper::service::service_fn;
use hyper_connstate::{Address, Conn, ConnIo, ConnStateLayer};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;

use checks::{Watched, Watcher};
use executor::{Executor, Spawner};
use script::{Protocols, Script, Step};
use service::{Handlers, WANTED, handle};
use transport::{End, Transport, Wire};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    static ONCE: Once = Once::new();
    ONCE.call_once(let_wanted_panics_pass);
    if let Some(script) = Script::new(input) {
        // Closing a connection may start a timer; no time passes here.
        CLOCK.with(|clock| {
            let _guard = clock.enter();
            run(script);
        });
    }
});

thread_local! {
    static CLOCK: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
}

/// libFuzzer's hook ends the process at any panic.
fn let_wanted_panics_pass() {
    let end_the_process = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let wanted = info.payload_as_str().is_some_and(|message| message.starts_with(WANTED));
        // hyper's own assertions, of which some do not hold (a bad request
        // read while an answer's body is still to be written), are as good as
        // a panic of a handler's.
        let theirs = info.location().is_some_and(|place| {
            ["/hyper-1.", "/hyper-util-0.", "/h2-0."].iter().any(|name| place.file().contains(name))
        });
        if !wanted && !theirs {
            end_the_process(info);
        }
    }));
}

fn run(script: Script<'_>) {
    let mut server = Server::start(&script);
    let piece = script.piece;
    let mut sent = Vec::new();
    for step in script {
        if let Step::Send(byte) = step {
            sent.push(byte);
            continue;
        }
        server.receive(std::mem::take(&mut sent), piece);
        server.step(step);
    }
    server.receive(sent, piece);
    server.step(Step::Pause);
    server.finish();
}

struct Server {
    executor: Executor,
    wire: Wire,
    handlers: Arc<Handlers>,
    watched: Arc<Watched>,
    conn: Conn,
    orders: Arc<Orders>,
}

/// Orders to the connection's task.
#[derive(Default)]
struct Orders {
    abort: AtomicBool,
    shut_down: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Server {
    fn start(script: &Script<'_>) -> Self {
        let handlers = Arc::new(Handlers::default());
        let (wire, transport) = Wire::new(script.vectored, handlers.clone());
        let executor = Executor::default();
        let watched = Arc::new(Watched {
            wire: wire.clone(),
            handlers: handlers.clone(),
            sequence: Mutex::default(),
            broken_off: AtomicBool::new(false),
            layered: script.layered,
            pipeline_flush: script.pipeline_flush,
            hook: script.hook,
        });
        let hook = Watcher(watched.clone());
        let io = ConnIo::new(transport, Address::Unknown, Address::Unknown, hook);
        let conn = io.conn().clone();
        // hyper gives a stream away unflushed where it holds answers back and
        // has more of what was read.
        if script.layered && !script.pipeline_flush {
            handlers.set_up(conn.clone(), wire.clone());
        }
        let orders = Arc::new(Orders::default());
        let spawner = executor.spawner();
        spawner.spawn(serve(io, script, spawner.clone(), handlers.clone(), orders.clone()));
        Self { executor, wire, handlers, watched, conn, orders }
    }

    fn receive(&mut self, bytes: Vec<u8>, piece: usize) {
        if !bytes.is_empty() {
            let pieces = bytes.chunks(piece).map(<[u8]>::to_vec);
            self.wire.change(|wire| wire.incoming.extend(pieces));
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send(_) | Step::Cut => {}
            Step::Pause => {
                self.executor.run();
                self.watched.check_pause(&self.conn);
            }
            Step::Eof => self.wire.change(|wire| wire.incoming_end = Some(End::Eof)),
            Step::Reset => self.wire.change(|wire| wire.incoming_end = Some(End::Reset)),
            Step::WritesFail => self.wire.change(|wire| wire.write_fails = true),
            Step::Room(room) => self.wire.change(|wire| wire.room = room),
            Step::Pieces(piece) => self.wire.change(|wire| wire.piece = piece),
            Step::FlushWaits(waits) => self.wire.change(|wire| wire.flush_waits = waits),
            Step::OpenGate(times) => self.handlers.gate.open(times),
            Step::Abort => {
                self.orders.abort.store(true, Ordering::Relaxed);
                self.watched.broken_off.store(true, Ordering::Relaxed);
                self.end();
            }
            Step::Close => {
                self.conn.close();
                self.watched.broken_off.store(true, Ordering::Relaxed);
                self.end();
            }
            Step::ShutDownGracefully => {
                self.orders.shut_down.store(true, Ordering::Relaxed);
                self.end();
            }
        }
    }

    /// The connection's task has an order to end the connection.
    fn end(&self) {
        self.wire.state().ending = true;
        let waker = self.orders.waker.lock().unwrap().take();
        waker.into_iter().for_each(Waker::wake);
    }

    fn finish(mut self) {
        // Whoever waited for the client or for a handler goes on.
        self.step(Step::Room(usize::MAX));
        self.step(Step::FlushWaits(false));
        self.step(Step::OpenGate(1000));
        self.step(Step::Pause);
        self.step(Step::Eof);
        self.step(Step::Pause);
        // And what is left goes with the runtime.
        self.executor.shut_down();
        self.handlers.finish();

        let sequence = self.watched.sequence.lock().unwrap();
        assert!(sequence.is_over(), "no terminal state: {:?}", sequence.states());
        assert!(self.wire.state().dropped);
        assert!(self.conn.close_reason().is_some());
        let closed = pin!(self.conn.closed());
        let mut cx = std::task::Context::from_waker(Waker::noop());
        assert!(closed.poll(&mut cx).is_ready(), "closed() does not resolve");
    }
}

/// The connection's task.
fn serve(
    io: ConnIo<Transport>,
    script: &Script<'_>,
    spawner: Spawner,
    handlers: Arc<Handlers>,
    orders: Arc<Orders>,
) -> impl Future<Output = ()> + Send + use<> {
    let mut builder = auto::Builder::new(spawner.clone());
    builder = match script.protocols {
        Protocols::Both => builder,
        Protocols::Http1 => builder.http1_only(),
        Protocols::Http2 => builder.http2_only(),
    };
    builder
        .http1()
        .half_close(script.half_close)
        .pipeline_flush(script.pipeline_flush)
        .keep_alive(script.keep_alive);
    if script.few_streams {
        builder.http2().max_concurrent_streams(2);
    }
    let layer =
        if script.layered { ConnStateLayer::for_conn(io.conn()) } else { ConnStateLayer::new() };
    let owner = script.owner;
    let service = layer.layer(service_fn(move |request| {
        handle(request, handlers.clone(), spawner.clone(), owner)
    }));
    async move {
        let mut connection =
            pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), service));
        poll_fn(|cx| {
            *orders.waker.lock().unwrap() = Some(cx.waker().clone());
            if orders.abort.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            if orders.shut_down.swap(false, Ordering::Relaxed) {
                connection.as_mut().graceful_shutdown();
            }
            connection.as_mut().poll(cx).map(drop)
        })
        .await;
    }
}
