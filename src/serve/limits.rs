//! How long hyper may wait for what it has no limit of its own for.

use std::task::Context;
use std::time::Duration;

use crate::io::Timer;
use crate::io::linger::LINGER;
use crate::tracker::{Closing, Fact};
use crate::{Conn, Protocol};

/// How long a client may take until its protocol is known; as long as hyper
/// gives it for the head of a request by default. hyper-util waits for ever.
const PROTOCOL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long hyper's graceful shutdown may wait for an HTTP/2 client to answer
/// its PING.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// How long hyper may wait for what it waits for without a limit of its own.
#[derive(Default)]
pub(super) struct Limits {
    protocol: Option<Timer>,
    ping: Option<Timer>,
    closing: Option<Timer>,
}

impl Limits {
    /// Whether hyper is to shut down now. In HTTP/2 it does so in two steps,
    /// and knows best when to take the second. In HTTP/1 it would close idle
    /// connections at once; there the stream and the layer do it.
    pub(super) fn begins_shutdown(&mut self, conn: &Conn) -> bool {
        let begins =
            self.ping.is_none() && conn.is_draining() && conn.protocol() == Protocol::Http2;
        if begins {
            self.ping = Some(Timer::new(PING_TIMEOUT));
        }
        begins
    }

    /// hyper waits. Returns what it has waited for too long.
    pub(super) fn poll(&mut self, conn: &Conn, cx: &mut Context<'_>) -> Option<&'static str> {
        if conn.protocol() != Protocol::Unknown {
            self.protocol = None;
        } else {
            let timer = self.protocol.get_or_insert_with(|| Timer::new(PROTOCOL_TIMEOUT));
            if timer.poll(cx).is_ready() {
                conn.record(Fact::TimedOut);
                return Some("the client has not said which protocol it speaks");
            }
        }
        if let Some(ping) = &mut self.ping {
            if conn.tracker().is_quiet() && ping.poll(cx).is_ready() {
                conn.apply_and_wake(Fact::GraceOver);
            }
        }
        match conn.closing() {
            None => None,
            // As a rule hyper has been told by its stream. But there are times
            // when it does not touch it.
            Some(Closing::Abort) => Some(CLOSED),
            Some(Closing::Graceful) => {
                let timer = self.closing.get_or_insert_with(|| Timer::new(2 * LINGER));
                timer.poll(cx).is_ready().then_some(CLOSED)
            }
        }
    }
}

const CLOSED: &str = "the program has closed the connection";
