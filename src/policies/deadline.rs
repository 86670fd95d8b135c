//! Whether a connection fails a policy: functions of what is known of it, of
//! what it was doing before, and of the clock.

use std::time::{Duration, Instant};

use super::stalls::Stalls;
use super::{Policies, Policy, Rate};
use crate::conn::Noted;
use crate::{ConnId, ConnState, Protocol};

/// How long before the end of an HTTP/1 connection's idle time its answers say
/// that it ends: for the request that is under way then.
const GRACE: Duration = Duration::from_secs(1);

/// What a client may have taken without its being seen. A socket says that it
/// has room when a good part of its buffer is free, a TLS stream when a whole
/// record is out, and clients open windows when they are half used up.
const HELD_BACK: u64 = 64 << 10;

/// How long a connection that is quiet may take to end once it is drained. It
/// takes longer where its client does not take what it is told.
const TELLING: Duration = Duration::from_secs(10);

/// How late a time-out may fire, for one of this length.
pub(super) fn slack(timeout: Duration) -> Duration {
    (timeout / 16).max(Duration::from_millis(100))
}

/// What a look at the connections knows of time.
pub(super) struct Clock<'a> {
    pub(super) now: Instant,
    pub(super) stalls: &'a Stalls,
    /// What the ages of this registry's connections differ by.
    pub(super) seed: u64,
}

impl Clock<'_> {
    fn elapsed(&self, since: Instant) -> Duration {
        self.stalls.elapsed(since, self.now)
    }

    fn is_over(&self, timeout: Option<Duration>, since: Instant) -> bool {
        timeout.is_some_and(|timeout| self.elapsed(since) >= timeout)
    }
}

/// What a connection is found to have failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// It ends, in the way that the tracker says.
    Ends(Policy),
    /// It is drained, and closed when it has been quiet for so long.
    Drains(Policy, Duration),
    /// Its grace is over too.
    Outlives(Policy),
}

/// What was seen of a connection at earlier looks, where it notes no instant
/// itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    body: Option<Progress>,
    write: Option<Progress>,
    windows: Option<Progress>,
    tunnel: Option<Progress>,
    idle: Option<Progress>,
}

/// How far something has come.
#[derive(Clone, Copy, Debug)]
struct Progress {
    begun: Instant,
    begun_bytes: u64,
    bytes: u64,
    /// Since when that has been so.
    since: Instant,
}

impl Progress {
    /// At another look, or the first one.
    fn look(before: Option<Self>, bytes: u64, now: Instant) -> Self {
        match before {
            Some(before) if before.bytes == bytes => before,
            Some(before) => Self { bytes, since: now, ..before },
            None => Self { begun: now, begun_bytes: bytes, bytes, since: now },
        }
    }

    /// Slower than that, even if so many bytes that nobody has seen have passed.
    fn is_slower(&self, rate: Option<Rate>, unseen: u64, clock: &Clock<'_>) -> bool {
        let Some(rate) = rate else { return false };
        let elapsed = clock.elapsed(self.begun);
        let least = rate.bytes_per_second as f64 * elapsed.as_secs_f64();
        let seen = self.bytes.saturating_sub(self.begun_bytes);
        elapsed >= rate.grace && (seen.saturating_add(unseen) as f64) < least
    }
}

impl Watch {
    /// Whether it has to be kept for the next look.
    pub(super) fn is_needed(&self) -> bool {
        let all = [&self.body, &self.write, &self.windows, &self.tunnel, &self.idle];
        all.into_iter().any(|progress| progress.is_some())
    }

    /// Looks at a connection. The first policy that it fails counts.
    pub(super) fn look(
        &mut self,
        policies: &Policies,
        conn: &Noted,
        clock: &Clock<'_>,
    ) -> Option<Failed> {
        // Its end has been decided, or a hook is being told what it does.
        if conn.tracker.closing().is_some() {
            return None;
        }
        let (state, since) = conn.state?;
        let failed = self
            .opening(policies, conn, state, clock)
            .or_else(|| self.transfer(policies, conn, state, clock))
            .map(Failed::Ends);
        failed
            .or_else(|| self.idle(policies, conn, state, since, clock))
            .or_else(|| age(policies, conn, clock))
    }

    /// Until the head of a request is there.
    fn opening(
        &self,
        policies: &Policies,
        conn: &Noted,
        state: ConnState,
        clock: &Clock<'_>,
    ) -> Option<Policy> {
        let tracker = conn.tracker;
        if tracker.is_handshaking() {
            let over = clock.is_over(policies.handshake_timeout, conn.accepted_at);
            return over.then_some(Policy::HandshakeTimeout);
        }
        if state.is_terminal() {
            return None;
        }
        if !tracker.has_introduced_itself()
            && clock.is_over(policies.first_byte_timeout, conn.ready_at)
        {
            return Some(Policy::FirstByteTimeout);
        }
        if tracker.reads_head() {
            let begun = conn.head_since?;
            let over = clock.is_over(policies.header_timeout, begun);
            return over.then_some(Policy::HeaderTimeout);
        }
        None
    }

    /// While bodies pass, or what a tunnel carries.
    fn transfer(
        &mut self,
        policies: &Policies,
        conn: &Noted,
        state: ConnState,
        clock: &Clock<'_>,
    ) -> Option<Policy> {
        let waits = conn.body_waits_since.filter(|_| state == ConnState::Active);
        let body = Progress::look(self.body, conn.body_read, clock.now);
        self.body = waits.filter(|_| policies.min_body_rate.is_some()).map(|_| body);

        let blocked = conn.write_blocked_since.filter(|_| !state.is_terminal());
        let write = Progress::look(self.write, conn.bytes_written, clock.now);
        self.write = blocked.filter(|_| policies.min_write_rate.is_some()).map(|_| write);

        // What else is sent through shut windows, as answers to PINGs, is no
        // progress.
        let shut = conn.windows_shut_since.filter(|_| !state.is_terminal());
        let windows = Progress::look(self.windows, conn.data_sent, clock.now);
        self.windows = shut.filter(|_| policies.min_write_rate.is_some()).map(|_| windows);

        let is_tunnel = state == ConnState::Hijacked && policies.tunnel_idle_timeout.is_some();
        let passed = conn.bytes_read.wrapping_add(conn.bytes_written);
        let tunnel = Progress::look(self.tunnel, passed, clock.now);
        self.tunnel = is_tunnel.then_some(tunnel);

        if let Some(since) = waits {
            if clock.is_over(policies.body_timeout, since)
                || body.is_slower(policies.min_body_rate, 0, clock)
            {
                return Some(Policy::BodyTimeout);
            }
        }
        let in_socket = HELD_BACK.saturating_add(conn.socket_holds);
        for (since, progress, unseen) in [(blocked, write, in_socket), (shut, windows, HELD_BACK)] {
            let Some(since) = since else { continue };
            if clock.is_over(policies.write_timeout, since)
                || progress.is_slower(policies.min_write_rate, unseen, clock)
            {
                return Some(Policy::WriteTimeout);
            }
        }
        let silent = is_tunnel && clock.is_over(policies.tunnel_idle_timeout, tunnel.since);
        silent.then_some(Policy::TunnelIdleTimeout)
    }

    fn idle(
        &mut self,
        policies: &Policies,
        conn: &Noted,
        state: ConnState,
        mut since: Instant,
        clock: &Clock<'_>,
    ) -> Option<Failed> {
        let timeout = policies.idle_timeout?;
        if state != ConnState::Idle || !conn.tracker.goes_on() {
            self.idle = None;
            let untold = is_untold(Policy::IdleTimeout, conn, clock)
                && clock.elapsed(since) >= timeout.saturating_add(TELLING);
            return untold.then_some(Failed::Outlives(Policy::IdleTimeout));
        }
        if policies.frames_reset_idle {
            // What has been read of frames when it became Idle is no sign of
            // life.
            let first = self.idle.is_none();
            let idle = Progress::look(self.idle, conn.bytes_read, clock.now);
            self.idle = Some(if first { Progress { since, ..idle } } else { idle });
            since = since.max(self.idle.map_or(since, |idle| idle.since));
        }
        let elapsed = clock.elapsed(since);
        if conn.tracker.protocol() == Protocol::Http2 {
            return (elapsed >= timeout).then_some(Failed::Drains(Policy::IdleTimeout, GRACE));
        }
        let left = timeout.saturating_sub(elapsed);
        (left <= GRACE.min(timeout / 2)).then_some(Failed::Drains(Policy::IdleTimeout, left))
    }
}

/// For how long a connection that fails nothing now will fail nothing.
///
/// What it does next may begin at once, but takes as long as its policy says; so
/// most connections are looked at seldom.
pub(super) fn patience(policies: &Policies, conn: &Noted, clock: &Clock<'_>) -> Duration {
    // Of these the beginning is seen only when somebody looks.
    let seen = policies.min_body_rate.is_some()
        || policies.min_write_rate.is_some()
        || policies.tunnel_idle_timeout.is_some()
        || policies.frames_reset_idle;
    let Some((state, since)) = conn.state.filter(|_| !seen) else { return Duration::ZERO };
    let left = |timeout: Duration, since: Option<Instant>| {
        timeout.saturating_sub(since.map_or(Duration::ZERO, |since| clock.elapsed(since)))
    };
    let idle_since = (state == ConnState::Idle).then_some(since);
    let head_since = conn.head_since.filter(|_| conn.tracker.reads_head());
    [
        policies.handshake_timeout.map(|timeout| left(timeout, Some(conn.accepted_at))),
        policies.first_byte_timeout.map(|timeout| left(timeout, Some(conn.ready_at))),
        policies.header_timeout.map(|timeout| left(timeout, head_since)),
        policies
            .idle_timeout
            .map(|timeout| left(timeout, idle_since).saturating_sub(GRACE.min(timeout / 2))),
        policies.body_timeout.map(|timeout| match conn.body_waits_since {
            None => timeout.saturating_sub(conn.body_waited),
            since => left(timeout, since),
        }),
        policies.write_timeout.map(|timeout| left(timeout, conn.write_blocked_since)),
        policies.write_timeout.map(|timeout| left(timeout, conn.windows_shut_since)),
        policies.max_age.map(|max_age| age_left(policies, max_age, conn, clock)),
    ]
    .into_iter()
    .enumerate()
    // What is behind it does not come again.
    .filter(|(index, _)| match index {
        0 => conn.tracker.is_handshaking(),
        1 => conn.tracker.is_handshaking() || !conn.tracker.has_introduced_itself(),
        _ => true,
    })
    .filter_map(|(_, left)| left)
    .min()
    .unwrap_or(Duration::MAX)
}

fn age_left(policies: &Policies, max_age: Duration, conn: &Noted, clock: &Clock<'_>) -> Duration {
    let age = clock.now.saturating_duration_since(conn.accepted_at);
    let left = jittered(max_age, conn.id, clock.seed).saturating_sub(age);
    if conn.tracker.goes_on() || policies.age_grace.is_none() {
        return left;
    }
    // It may be that grace.
    Duration::ZERO
}

/// It is drained for this, has been quiet for long enough, and is still there.
fn is_untold(policy: Policy, conn: &Noted, clock: &Clock<'_>) -> bool {
    let quiet_since = conn.state.filter(|_| conn.tracker.is_quiet()).map(|(_, since)| since);
    conn.tracker.first_cause() == Some(policy.reason())
        && quiet_since.is_some_and(|since| clock.elapsed(since) >= TELLING)
}

fn age(policies: &Policies, conn: &Noted, clock: &Clock<'_>) -> Option<Failed> {
    let max_age = jittered(policies.max_age?, conn.id, clock.seed);
    // Nobody's stall makes a connection younger.
    let age = clock.now.saturating_duration_since(conn.accepted_at);
    if conn.tracker.goes_on() {
        return (age >= max_age).then_some(Failed::Drains(Policy::MaxAge, GRACE));
    }
    let untold = is_untold(Policy::MaxAge, conn, clock).then_some(TELLING);
    let grace = [policies.age_grace, untold].into_iter().flatten().min()?;
    let outlives = age >= max_age.checked_add(grace)? && !conn.tracker.is_hijacked();
    outlives.then_some(Failed::Outlives(Policy::MaxAge))
}

/// Up to a tenth more or less, evenly spread.
fn jittered(age: Duration, id: ConnId, seed: u64) -> Duration {
    // Multiples of the golden ratio come nowhere close to each other.
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let spread = id.get().wrapping_mul(GOLDEN).wrapping_add(seed);
    // In 1024 steps from nine tenths to eleven.
    let part = (spread >> 54) as u32;
    let tenth = age / 10;
    age.saturating_sub(tenth).saturating_add((tenth * 2 / 1024).saturating_mul(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_spread_evenly() {
        let age = Duration::from_secs(600);
        let ids = || (1..=10_000).map(ConnId::from);
        let mut ages: Vec<_> = ids().map(|id| jittered(age, id, 7)).collect();
        ages.sort();
        let (least, most) = (Duration::from_secs(540), Duration::from_secs(660));
        assert!(ages[0] >= least && ages[ages.len() - 1] <= most);
        for (index, found) in ages.iter().enumerate() {
            let expected = least + (most - least) * index as u32 / 10_000;
            assert!(found.abs_diff(expected) < Duration::from_secs(2), "{index}: {found:?}");
        }
        // Those of other servers are others.
        let id = ConnId::from(5);
        assert_ne!(jittered(age, id, 7), jittered(age, id, u64::MAX / 3));
    }

    #[test]
    fn odd_ages() {
        let id = ConnId::from(5);
        assert_eq!(jittered(Duration::ZERO, id, 1), Duration::ZERO);
        assert!(jittered(Duration::MAX, id, u64::MAX) > Duration::MAX / 2);
    }

    #[test]
    fn rates_count_from_the_beginning() {
        let start = Instant::now();
        let stalls = Stalls::default();
        let clock =
            |seconds| Clock { now: start + Duration::from_secs(seconds), stalls: &stalls, seed: 0 };
        let rate = Some(Rate { bytes_per_second: 240, grace: Duration::from_secs(5) });
        let progress = Progress::look(None, 1_000, start);
        assert!(!progress.is_slower(rate, 0, &clock(4)));
        assert!(progress.is_slower(rate, 0, &clock(5)));
        let more = Progress::look(Some(progress), 1_000 + 240 * 10, start);
        assert!(!more.is_slower(rate, 0, &clock(10)));
        assert!(more.is_slower(rate, 0, &clock(11)));
        assert!(!more.is_slower(None, 0, &clock(11)));
        assert!(!more.is_slower(rate, 240, &clock(11)));
        assert!(more.is_slower(rate, 240, &clock(12)));
    }
}
