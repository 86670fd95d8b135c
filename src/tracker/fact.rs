//! What the shells report to the tracker, and what it answers.

use std::io;

use crate::close_reason::CloseReason;

/// Something that happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// The bytes read are not HTTP/2's preface, or were not answered as such.
    Http1Began,
    /// The client's whole preface has been read and the server has written its
    /// SETTINGS (RFC 9113, section 3.4).
    Http2Began,
    /// Both sides speak TLS through the stream: nothing can be seen of what it
    /// carries.
    TlsBegan,

    /// HTTP/1: bytes were read.
    Read,
    /// HTTP/1: bytes were read that belong to the body of the request that was
    /// last begun.
    ReadBody,
    /// HTTP/1: a read was asked for, and there was nothing.
    ReadPending,
    /// The client has closed its side.
    ReadClosed,
    /// Reading failed.
    ReadFailed(io::ErrorKind),
    /// Writing, flushing or shutting down failed.
    WriteFailed(io::ErrorKind),
    /// The server shuts the stream down.
    ShutDown,
    /// HTTP/1: the first bytes of an answer were written, `by_handler` if they
    /// cannot be an error answer of hyper's own.
    Answering { by_handler: bool },
    /// HTTP/1: bytes were written.
    Written,
    /// HTTP/1: all that was written is in the socket; `bytes` if anything was
    /// written since the flush before.
    Flushed { bytes: bool },

    /// HTTP/1: the head of a request is there, and no layer has been called
    /// for it yet.
    HeadRead,
    /// HTTP/1: the layer was called.
    RequestBegan(Request),
    /// HTTP/1: the body of the request being served is followed: its end will
    /// be recorded.
    #[cfg_attr(not(feature = "axum"), allow(dead_code))]
    RequestBodyFollowed,
    /// HTTP/1: the followed body of a request ended or was dropped.
    #[cfg_attr(not(feature = "axum"), allow(dead_code))]
    RequestBodyEnded { exchange: Exchange, read_to_end: bool },
    /// HTTP/1: the response body ended or was dropped, or the response future
    /// was.
    ResponseEnded { exchange: Exchange, response: Response },

    /// HTTP/1: a handler or its response body panicked.
    HandlerPanicked,

    /// HTTP/2: the number of open streams went from zero to one.
    StreamsOpened,
    /// HTTP/2: the number of open streams went from one to zero.
    StreamsClosed,
    /// HTTP/2: a frame header or a header block has begun, or is complete. It
    /// opens no stream before it is complete.
    HeaderBlock { open: bool },
    /// HTTP/2: the client has sent its first SETTINGS.
    SettingsReceived,
    /// HTTP/2: so many bytes of requests' bodies have been read. For the shells
    /// alone.
    DataRead { length: u32 },
    /// HTTP/2: the client said GOAWAY.
    GoAwayReceived { error_code: u32 },
    /// HTTP/2: the server said GOAWAY with an error code.
    ProtocolError,

    /// A time-out of hyper's ends the connection.
    TimedOut,
    /// One of the program's policies has run out.
    Expired(CloseReason),
    /// There is no room for the connection, and its client is told so.
    Refused,
    /// What passes through the stream is to be counted from now on.
    Watched,
    /// Answers are to say how long the connection is kept, or not.
    KeepAlive { said: bool },

    /// The stream's TLS handshake is under way.
    HandshakeBegan,
    /// It is done.
    HandshakeDone,
    /// `serve` polls the connection's future, and says when it waits
    /// ([`Fact::PollEnded`]).
    #[cfg_attr(not(feature = "serve"), allow(dead_code))]
    Managed,
    /// The connection's future was polled, and waits.
    #[cfg_attr(not(feature = "serve"), allow(dead_code))]
    PollEnded,

    /// The program wants the connection closed.
    Close(CloseReason),
    /// The program wants the connection closed if it is idle.
    CloseIfIdle,
    /// The program wants the connection closed as soon as its client knows:
    /// this one, or `all` of its registry.
    Drain { all: bool },
    /// The drain of all connections of its registry was given up.
    DrainCancelled,
    /// A connection that is drained has been quiet for long enough.
    GraceOver,

    /// The stream was taken out of the instrumentation.
    Detached,
    /// The stream was dropped.
    Dropped,
}

/// What the layer knows of a request when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The request has a body that has not been read to its end.
    pub(crate) has_body: bool,
    /// The answer will be followed by another request, unless it says
    /// otherwise itself, and all that is written meanwhile is the answer.
    pub(crate) may_persist: bool,
}

/// What the layer knows of a response when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// Nothing about it ends the connection.
    pub(crate) may_persist: bool,
    /// It hands the stream over: a 101 or a 2xx to CONNECT, to a request that
    /// could be upgraded.
    pub(crate) upgraded: bool,
}

/// Which request of its connection a fact is about. The number wraps.
pub(crate) type Exchange = u16;

/// What the shell that recorded a fact has to do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// Wake the connection's tasks.
    Wake,
    /// The first byte of a request was read, as far as can be told.
    FirstByte,
    /// The request is counted under this number; its end has to be recorded.
    /// Not given to a second layer around the same request.
    Begun(Exchange),
    /// The stream is somebody else's from now on.
    Hijacked,
    /// A handler answers, and no layer was ever called.
    LayerMissing,
    /// The stream carries TLS.
    BelowTls,
}
