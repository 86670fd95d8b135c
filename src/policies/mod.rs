//! Time-outs, ages and limits.
//!
//! What is demanded is in [`Policies`]. Whether a connection fails it is said
//! by [`deadline`], from what the connection has noted of itself; when to look
//! by the [`enforcer`], one task for each registry; and what then becomes of
//! the connection by the tracker. [`limits`] says who may come at all, and
//! [`refusal`] what those are told who may not.

mod deadline;
pub(crate) mod enforcer;
pub(crate) mod limits;
mod policy;
pub(crate) mod refusal;
mod stalls;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::Conn;

pub use self::policy::{Limit, Policy};
pub use self::refusal::Refusal;

type OnExpiry = dyn Fn(&Conn, Policy) + Send + Sync;
type OnRefusal = dyn Fn(&Conn, Limit) + Send + Sync;
type PerIpKey = dyn Fn(IpAddr) -> Option<IpAddr> + Send + Sync;

/// Time-outs, ages and limits of a server's connections.
///
/// Everything is off until you set it. [`Policies::internet`] sets each time-out
/// that a server needs when it faces strangers.
///
/// ```
/// # async fn example(listener: tokio::net::TcpListener) {
/// use std::time::Duration;
/// use hyper_connstate::{Policies, instrument_listener};
///
/// let listener = instrument_listener(listener, ())
///     .policies(Policies::internet().idle_timeout(Duration::from_secs(75)).max_connections(10_000));
/// // To change them while the server runs:
/// let connections = listener.connections();
/// connections.set_policies(connections.policies().max_connections(20_000));
/// # }
/// ```
///
/// They hold in any accept loop: in `axum::serve`, in [`serve`](fn@crate::serve)
/// and in one of your own. [`Connections::set_policies`](crate::Connections::set_policies)
/// changes them while the server runs, for the connections that are there too,
/// and [`Conn::set_policies`] for one connection. The [guide](crate::guide::policies)
/// says which values to choose, and how other servers call them.
///
/// # What happens
///
/// - A time-out of length T fires between T and T + T/16 (or T + 100
///   milliseconds, if that is more), [`idle_timeout`](Self::idle_timeout) over
///   HTTP/1 up to a second earlier: its last second is for requests that are on
///   their way. The program's own stalls do not count: what a client sent while
///   the runtime was blocked is read first.
/// - A connection that has just begun a request is never ended for what it did
///   before.
/// - A client whose connection is idle, old or has carried enough requests is
///   told: with `Connection: close` over HTTP/1, with GOAWAY over HTTP/2. One
///   whose head is too slow gets `408` or GOAWAY. With the other time-outs
///   nobody can be told, and the connection is broken off.
/// - [`Conn::close_reason`] says which policy it was, [`on_expiry`](Self::on_expiry)
///   is called, and [`Connections::expired`](crate::Connections::expired) counts.
/// - A connection that is being drained is not drained again for its age or for
///   being idle. The other time-outs go on.
/// - Hijacked connections have no HTTP time-outs, only
///   [`tunnel_idle_timeout`](Self::tunnel_idle_timeout). At their
///   [`max_age`](Self::max_age) their owner is told ([`Conn::draining`]).
///
/// # Special values
///
/// `None` turns a policy off, a least rate too. A time of zero is over at once,
/// and one too long to be added to the clock is never over. A
/// [`max_connections`](Self::max_connections) of zero lets nobody in. A
/// [`max_requests`](Self::max_requests) of zero is the same as one.
///
/// # What it costs
///
/// A comparison per request, with [`max_requests`](Self::max_requests). One task
/// looks after all connections, as long as there are time-outs: 0.7 % of a core
/// for 100,000 of them with [`internet`](Self::internet). (`cargo test --release
/// --lib --all-features looking_after -- --ignored --nocapture` measures it; with
/// a least rate, [`tunnel_idle_timeout`](Self::tunnel_idle_timeout) or
/// [`frames_reset_idle`](Self::frames_reset_idle) it looks closer, and takes
/// more.) It needs a tokio runtime with a timer, and
/// takes that of the first connection. Without a timer no time-out fires.
#[derive(Clone, Default)]
#[must_use = "policies do nothing until a listener or a registry has them"]
pub struct Policies {
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) first_byte_timeout: Option<Duration>,
    pub(crate) header_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) frames_reset_idle: bool,
    pub(crate) keep_alive_header: bool,
    pub(crate) body_timeout: Option<Duration>,
    pub(crate) min_body_rate: Option<Rate>,
    pub(crate) write_timeout: Option<Duration>,
    pub(crate) min_write_rate: Option<Rate>,
    pub(crate) tunnel_idle_timeout: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) age_grace: Option<Duration>,
    pub(crate) max_requests: Option<u64>,
    pub(crate) max_connections: Option<usize>,
    pub(crate) refuses_when_full: bool,
    pub(crate) max_connections_per_ip: Option<usize>,
    pub(crate) per_ip_key: Option<Arc<PerIpKey>>,
    pub(crate) refusal: Refusal,
    pub(crate) on_expiry: Option<Arc<OnExpiry>>,
    pub(crate) on_refusal: Option<Arc<OnRefusal>>,
}

/// A speed that a client has to keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    pub(crate) bytes_per_second: u64,
    pub(crate) grace: Duration,
}

impl Rate {
    fn new(bytes_per_second: impl Into<Option<u64>>, grace: Duration) -> Option<Self> {
        Some(Self { bytes_per_second: bytes_per_second.into()?, grace })
    }
}

impl Policies {
    /// Everything is off.
    pub fn new() -> Self {
        Self::default()
    }

    /// For servers that face strangers.
    ///
    /// | policy | value |
    /// |---|---|
    /// | [`handshake_timeout`](Self::handshake_timeout) | 10 s |
    /// | [`first_byte_timeout`](Self::first_byte_timeout) | 30 s |
    /// | [`header_timeout`](Self::header_timeout) | 10 s |
    /// | [`idle_timeout`](Self::idle_timeout) | 120 s |
    /// | [`body_timeout`](Self::body_timeout) | 60 s |
    /// | [`write_timeout`](Self::write_timeout) | 60 s |
    ///
    /// Ages and limits depend on the server, and are off.
    pub fn internet() -> Self {
        Self::new()
            .handshake_timeout(Duration::from_secs(10))
            .first_byte_timeout(Duration::from_secs(30))
            .header_timeout(Duration::from_secs(10))
            .idle_timeout(Duration::from_secs(120))
            .body_timeout(Duration::from_secs(60))
            .write_timeout(Duration::from_secs(60))
    }

    /// How long a TLS handshake may take, from when the connection was accepted.
    /// Then it is closed.
    ///
    /// It holds for handshakes that run in
    /// [`Handshake::complete`](crate::Handshake::complete), and so for those of
    /// [`serve`](fn@crate::serve). `serve` has a time-out of its own, too, of 10 s
    /// if you set no other: the shorter one counts.
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.handshake_timeout = timeout.into();
        self
    }

    /// How long a client may say nothing once it is connected (with TLS: once
    /// the handshake is done). Over HTTP/2, how long until its preface and its
    /// SETTINGS are there. Then the connection is closed without a word. (Half a
    /// preface may be half a head, and is a matter of
    /// [`header_timeout`](Self::header_timeout).)
    pub fn first_byte_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.first_byte_timeout = timeout.into();
        self
    }

    /// How long the head of a request may take, from its first byte until the
    /// [layer](crate::ConnStateLayer) is called for it; over HTTP/2, from the
    /// first byte of a frame's header, or of a HEADERS frame, until the header
    /// block is whole. More bytes do not buy more time.
    ///
    /// Over HTTP/1 the client is answered `408 Request Timeout` with
    /// `Connection: close`, over HTTP/2 with GOAWAY and `ENHANCE_YOUR_CALM`, and
    /// then the connection is closed.
    ///
    /// Unlike hyper's `header_read_timeout`, it does not count the time in which
    /// a kept connection waits for a request. If both are set the shorter one
    /// counts. [`serve`](fn@crate::serve) turns hyper's off if this one is set
    /// when it starts.
    ///
    /// One case counts later: if half a head comes in the same read as the end
    /// of the previous request, the time begins with the next byte. hyper may
    /// have read that half and does not say so. Until then the connection is
    /// idle.
    pub fn header_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.header_timeout = timeout.into();
        self
    }

    /// How long a connection may be [Idle](crate::ConnState::Idle). Then it is
    /// ended so that its client loses no request.
    ///
    /// Over HTTP/1 the connection is closed when the time is up. A request that
    /// comes in the last second (or in the last half, if that is less) is
    /// answered with `Connection: close`. Over HTTP/2 the client gets a GOAWAY
    /// when the time is up, and the connection is closed after a round trip.
    ///
    /// Long polls, server-sent events and tunnels are not Idle. A PING, SETTINGS
    /// or WINDOW_UPDATE does not make a connection less idle, unless
    /// [`frames_reset_idle`](Self::frames_reset_idle) is on.
    ///
    /// Behind a load balancer, set it longer than the balancer keeps idle
    /// connections, so that the balancer is the one to close them.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }

    /// Whether anything that an idle client sends counts as use for
    /// [`idle_timeout`](Self::idle_timeout): HTTP/2's PING, say. Off by default:
    /// PINGs are cheap, and some clients send nothing else.
    pub fn frames_reset_idle(mut self, on: bool) -> Self {
        self.frames_reset_idle = on;
        self
    }

    /// Whether HTTP/1 responses carry `Keep-Alive: timeout=…` with the whole
    /// seconds of [`idle_timeout`](Self::idle_timeout), less one. Off by
    /// default. Clients that honour it (Node's, Apache's and urllib3's among
    /// them) do not use a connection that is about to be closed.
    pub fn keep_alive_header(mut self, on: bool) -> Self {
        self.keep_alive_header = on;
        self
    }

    /// How long the handler may wait for the next byte of a request's body. Then
    /// the connection is broken off, and the handler's read fails.
    ///
    /// Only time in which the handler waits for more counts: a handler that does
    /// not read, or does not come for what is there, holds its client up by itself.
    /// A body that has to be waited for takes an allocation. This needs bodies that are
    /// followed, as those of `into_make_service_with_conn_state()` are in axum.
    /// Elsewhere it does nothing.
    ///
    /// Over HTTP/2 it fires when a handler waits and no stream of the connection
    /// has got a byte, and all streams end. So where clients may be silent within
    /// a request, as in gRPC's streams, it has to be off or longer than their
    /// silence.
    pub fn body_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.body_timeout = timeout.into();
        self
    }

    /// How many bytes per second of a request's body have to come while the
    /// handler waits for it, after a grace. Kestrel has 240 bytes per second
    /// after 5 seconds. A slower client is broken off, as with
    /// [`body_timeout`](Self::body_timeout).
    ///
    /// Only the body counts, not the chunk sizes, extensions and padding around
    /// it. Over TLS bytes are there when their record is whole, which has up to
    /// 16 KiB: give the grace time for one.
    pub fn min_body_rate(
        mut self,
        bytes_per_second: impl Into<Option<u64>>,
        grace: Duration,
    ) -> Self {
        self.min_body_rate = Rate::new(bytes_per_second, grace);
        self
    }

    /// How long a client may take nothing while there is something to send to
    /// it. Then the connection is broken off.
    ///
    /// The time begins anew whenever the socket takes something. So a long
    /// download, or a response that comes in drops (server-sent events), may
    /// last for ever. A socket takes more only when there is room in its buffer
    /// for a good part (on Linux, a third of it). So a client has to take about
    /// that much in this time, as with nginx's `send_timeout`; a buffer grows with
    /// the speed of its client, and on one and the same machine it has megabytes.
    /// Over HTTP/2 the time also counts while a response fills
    /// the window that its client has given it (RFC 9113, section 5.2).
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.write_timeout = timeout.into();
        self
    }

    /// How many bytes per second a client has to take while there is something
    /// to send to it, after a grace. Kestrel has 240 bytes per second after 5
    /// seconds. A slower client is broken off.
    ///
    /// What the socket's buffer holds may have been taken or not, and as much
    /// again is not asked for, nor are 64 KiB: what a client takes is seen in
    /// steps, those of a socket's buffer, a TLS record or an HTTP/2 window. So a
    /// client that takes nothing is broken off after the time that these bytes
    /// take at this rate, unless [`write_timeout`](Self::write_timeout) is over
    /// first. Over HTTP/2, what is not part of a response's body (an answer to a
    /// PING, say) opens no window, and does not count while one is shut.
    pub fn min_write_rate(
        mut self,
        bytes_per_second: impl Into<Option<u64>>,
        grace: Duration,
    ) -> Self {
        self.min_write_rate = Rate::new(bytes_per_second, grace);
        self
    }

    /// How long a [hijacked](crate::ConnState::Hijacked) connection (a WebSocket
    /// or a tunnel) may carry nothing in either direction. Then it is closed. (A
    /// stream that was taken out of its instrumentation is out of sight.)
    pub fn tunnel_idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.tunnel_idle_timeout = timeout.into();
        self
    }

    /// How long a connection may live. Then it is [drained](Conn::drain):
    /// requests under way are answered, however long they take, unless
    /// [`age_grace`](Self::age_grace) is set.
    ///
    /// Each connection's limit is up to a tenth longer or shorter, so that those
    /// which came together do not all come again together.
    ///
    /// A client that does not heed what it is told can stay: over HTTP/2 with new
    /// streams before the last ones have ended, over HTTP/1 with a request sent
    /// before the last one is answered. [`age_grace`](Self::age_grace) ends such
    /// clients too.
    pub fn max_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.max_age = age.into();
        self
    }

    /// How long a connection may go on after its [`max_age`](Self::max_age)
    /// before it is broken off. By default, as long as its requests take.
    pub fn age_grace(mut self, grace: impl Into<Option<Duration>>) -> Self {
        self.age_grace = grace.into();
        self
    }

    /// How many requests a connection may carry. The answer to the last of them
    /// says `Connection: close`; over HTTP/2 a GOAWAY follows it.
    ///
    /// Requests that the client has sent by then are served too. So this spreads
    /// the load of clients that heed what they are told; it stops nobody else
    /// (see [`max_age`](Self::max_age)).
    pub fn max_requests(mut self, requests: impl Into<Option<u64>>) -> Self {
        self.max_requests = requests.into();
        self
    }

    /// How many connections there may be, hijacked ones included. At the limit
    /// no more are accepted until one is gone: new ones wait in the system's
    /// queue, unless [`refuse_when_full`](Self::refuse_when_full) is on.
    ///
    /// Connections that were [inserted](crate::Connections::insert) count, and
    /// are never refused. Lowering the limit closes nothing.
    ///
    /// There may be more sockets than that for two reasons. A stream that was
    /// [taken out](crate::ConnIo::into_inner) of its instrumentation no longer
    /// counts, since nobody sees when it is closed. And up to 256 connections
    /// that are refused may be there while they are [told](Self::refusal).
    pub fn max_connections(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.max_connections = connections.into();
        self
    }

    /// Whether connections beyond [`max_connections`](Self::max_connections) are
    /// [refused](Self::refusal) instead of having to wait. Off by default.
    pub fn refuse_when_full(mut self, on: bool) -> Self {
        self.refuses_when_full = on;
        self
    }

    /// How many connections there may be from one IP address (IPv4), or from one
    /// /64 (IPv6, where a client has as many addresses as it likes). Others are
    /// [refused](Self::refusal). Clients without an IP address are not limited.
    ///
    /// Behind a proxy all connections come from the proxy: exempt it with
    /// [`per_ip_key`](Self::per_ip_key).
    pub fn max_connections_per_ip(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.max_connections_per_ip = connections.into();
        self
    }

    /// Which connections count together for
    /// [`max_connections_per_ip`](Self::max_connections_per_ip): those whose
    /// addresses give the same key. `None` exempts an address. IPv4 addresses
    /// that come mapped into IPv6 are given as IPv4.
    ///
    /// ```
    /// use std::net::IpAddr;
    /// use hyper_connstate::Policies;
    ///
    /// let policies = Policies::new()
    ///     .max_connections_per_ip(20)
    ///     .per_ip_key(|ip| if ip.is_loopback() { None } else { Some(ip) });
    /// # let _ = policies;
    /// ```
    ///
    /// Connections that are there keep the key that they had, or stay exempt.
    ///
    /// It is called before a connection is reported, and must not block. A panic
    /// in it is caught, and exempts the address.
    pub fn per_ip_key(
        mut self,
        key: impl Fn(IpAddr) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        self.per_ip_key = Some(Arc::new(key));
        self
    }

    /// What refused clients are told. By default they are closed without a word.
    pub fn refusal(mut self, refusal: Refusal) -> Self {
        self.refusal = refusal;
        self
    }

    /// Called when a policy has run out for a connection, right after it was
    /// decided. It must not block. A panic in it is caught.
    pub fn on_expiry(mut self, hook: impl Fn(&Conn, Policy) + Send + Sync + 'static) -> Self {
        self.on_expiry = Some(Arc::new(hook));
        self
    }

    /// Called when a connection is refused. It must not block. A panic in it is
    /// caught.
    pub fn on_refusal(mut self, hook: impl Fn(&Conn, Limit) + Send + Sync + 'static) -> Self {
        self.on_refusal = Some(Arc::new(hook));
        self
    }

    /// Whether anybody has to be looked at.
    pub(crate) fn need_looking(&self) -> bool {
        let timeouts = [
            self.handshake_timeout,
            self.first_byte_timeout,
            self.header_timeout,
            self.idle_timeout,
            self.body_timeout,
            self.write_timeout,
            self.tunnel_idle_timeout,
            self.max_age,
        ];
        let rates = self.min_body_rate.is_some() || self.min_write_rate.is_some();
        rates || timeouts.into_iter().any(|timeout| timeout.is_some())
    }

    /// Handlers that wait for a body have to say so.
    pub(crate) fn limits_bodies(&self) -> bool {
        self.body_timeout.is_some() || self.min_body_rate.is_some()
    }

    /// The seconds for `Keep-Alive: timeout=`. One less than the time-out, for
    /// what is under way.
    pub(crate) fn keep_alive_seconds(&self) -> Option<u64> {
        let timeout = self.idle_timeout.filter(|_| self.keep_alive_header)?;
        Some(timeout.as_secs().saturating_sub(1))
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut policies = f.debug_struct("Policies");
        macro_rules! fields {
            ($($field:ident)*) => {
                $(if let Some(value) = &self.$field {
                    policies.field(stringify!($field), value);
                })*
            };
        }
        // What is not set says nothing.
        fields! {
            handshake_timeout first_byte_timeout header_timeout idle_timeout body_timeout
            min_body_rate write_timeout min_write_rate tunnel_idle_timeout max_age age_grace
            max_requests max_connections max_connections_per_ip
        }
        policies
            .field("frames_reset_idle", &self.frames_reset_idle)
            .field("keep_alive_header", &self.keep_alive_header)
            .field("refuse_when_full", &self.refuses_when_full)
            .field("refusal", &self.refusal)
            .finish_non_exhaustive()
    }
}
