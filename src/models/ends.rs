//! Ends that are decided on another thread: drains, closes and policies.

use super::*;
use crate::Policy;
use crate::conn::Settings;
use crate::io::sensor::Sensor;

/// A drain, and then a close, come while the task takes the next step, from
/// every stage. There is one end, and the close is not forgotten over the drain.
#[test]
fn a_drain_and_a_close_meet_every_transition() {
    for until in EVERY {
        // Two things on the other thread meet in too many ways to try them all.
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(move || {
            let log = Arc::new(Log::default());
            let (mut task, conn, exchange) = prepare(&log, until);
            task.take_woken();
            let other = conn.clone();
            let ends = thread::spawn(move || {
                other.drain();
                other.close();
            });
            let ended = next_step(&mut task, &conn, exchange, until);
            ends.join().unwrap();

            assert!(conn.is_draining());
            assert!(task.run(ended), "{until:?}: asleep, and not closed");
            task.io = None;
            log.check(&conn);
        });
    }
}

/// A drain comes while the stream is handed over: its new owner hears of it.
#[test]
fn a_drain_meets_a_hand_over() {
    model(|| {
        let log = Arc::new(Log::default());
        let (mut task, conn, _) = prepare(&log, Until::HandingOver);
        let other = conn.clone();
        let drain = thread::spawn(move || other.drain());
        let _ = task.flush();
        drain.join().unwrap();

        assert_eq!(conn.state(), ConnState::Hijacked);
        let mut context = Context::from_waker(Waker::noop());
        assert!(std::pin::pin!(conn.draining()).poll(&mut context).is_ready());
        task.io = None;
        log.check(&conn);
    });
}

/// The idle time runs out while the next request's first byte is read: either
/// the byte came first and nothing happens, or its client is told with the
/// answer. The request is read either way.
#[test]
fn an_idle_time_out_meets_a_request() {
    model(|| {
        let log = Arc::new(Log::default());
        let (mut task, conn, _) = prepare(&log, Until::Idle);
        let (other, seen) = (conn.clone(), conn.tracker());
        let policy = thread::spawn(move || other.expire_if(seen, Policy::IdleTimeout));
        task.client_says(GET);
        assert!(matches!(task.read(), Poll::Ready(Ok(()))));
        let expired = policy.join().unwrap();

        assert_eq!(conn.state(), ConnState::Active);
        assert_eq!(conn.is_draining(), expired);
        assert!(conn.closing().is_none());
        task.io = None;
        log.check(&conn);
    });
}

/// The time for a head runs out while the layer is called for it: a request that
/// has begun to be served is never broken off for its head.
#[test]
fn a_header_time_out_meets_the_layer() {
    model(|| {
        let log = Arc::new(Log::default());
        let (mut task, conn) = Task::new(&log);
        // Whole, it would be known to be.
        task.client_says(b"GET / HTTP/1.1\r\n");
        assert!(task.read().is_ready());
        let (other, seen) = (conn.clone(), conn.tracker());
        let policy = thread::spawn(move || other.expire_if(seen, Policy::HeaderTimeout));
        let exchange = conn.request_began(PLAIN, LENGTH);
        let expired = policy.join().unwrap();

        assert_eq!(conn.closing().is_some(), expired);
        ended(&conn, exchange, KEPT);
        task.io = None;
        log.check(&conn);
    });
}

/// A connection ends while a limit on connections of one address is set: its
/// place is given back, whoever is first.
#[test]
fn a_limit_meets_an_end() {
    model(|| {
        let log = Arc::new(Log::default());
        let connections = Connections::default();
        let address = std::net::SocketAddr::from(([192, 0, 2, 1], 1));
        let io = ConnIo::new(Client::default(), address, Address::Unknown, log.clone());
        let conn = io.conn().clone();
        assert!(connections.insert(&conn));
        let limited = connections.clone();
        let limits = thread::spawn(move || {
            limited.set_policies(crate::Policies::new().max_connections_per_ip(1));
        });
        drop(io);
        limits.join().unwrap();

        log.check(&conn);
        assert!(connections.enforcer().limits.is_empty());
    });
}

/// Two connections come at the same time where there is room for two: none is
/// refused.
#[test]
fn two_come_where_there_is_room_for_two() {
    // Two connections that come take too many steps to try all the ways.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let connections = Connections::default();
        let two = crate::Policies::new().max_connections(2).max_connections_per_ip(2);
        connections.set_policies(two.refuse_when_full(true));
        let other = connections.clone();
        let one = thread::spawn(move || comes(&other));
        let two = comes(&connections);
        let one = one.join().unwrap();

        drop((one, two));
        assert!(connections.enforcer().limits.is_empty());
    });
}

/// A connection that is accepted from always the same address.
fn comes(connections: &Connections) -> ConnIo<Client> {
    let address = Address::from(std::net::SocketAddr::from(([192, 0, 2, 1], 1)));
    let admission = connections.enforcer().admit(None, &address).ok().expect("there is room");
    let observer = Some(connections.observer());
    let conn = Conn::new(address, Address::Unknown, Settings::new(()), observer, admission);
    ConnIo::with_sensor(Client::default(), Sensor::new(conn))
}
