//! A hook that remembers what it was told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use hyper_connstate::{CloseReason, Conn, ConnId, ConnState, Hook};

use super::settle;

/// Remembers the states of every connection, by the client's address.
#[derive(Clone, Default)]
pub struct Recorder {
    by_client: Arc<Mutex<HashMap<String, Record>>>,
    /// By connection, since an address may come again.
    by_id: Arc<Mutex<HashMap<ConnId, Vec<ConnState>>>>,
}

#[derive(Default)]
struct Record {
    states: Vec<ConnState>,
    /// How many of them have been compared.
    seen: usize,
    conn: Option<Conn>,
    /// Why it ended, as the hook saw it.
    reason: Option<CloseReason>,
}

impl Hook for Recorder {
    fn on_state(&self, conn: &Conn, state: ConnState) {
        assert_eq!(conn.state(), state, "the state inside the hook is the one reported");
        self.by_id.lock().unwrap().entry(conn.id()).or_default().push(state);
        let mut records = self.by_client.lock().unwrap();
        let record = records.entry(conn.remote_addr().to_string()).or_default();
        record.states.push(state);
        record.conn = Some(conn.clone());
        record.reason = conn.close_reason();
    }
}

impl Recorder {
    /// Checks that exactly `expected` (words, separated by spaces) has been
    /// reported for this client since the last check, and that nothing more
    /// comes while the client pauses.
    pub async fn sees(&self, client: &str, expected: &str, context: &str) {
        let expected: Vec<_> = expected.split_whitespace().collect();
        // A loaded machine may take a while to carry bytes over loopback.
        for _ in 0..2_000 {
            settle().await;
            if self.unseen(client).len() >= expected.len() {
                break;
            }
            std::thread::yield_now();
        }
        settle().await;
        let unseen = self.unseen(client);
        if unseen != expected {
            let all = self.states(client);
            panic!(
                "{context}: expected [{}], reported were [{}] (all: {all:?})",
                expected.join(" "),
                unseen.join(" "),
            );
        }
        if let Some(record) = self.by_client.lock().unwrap().get_mut(client) {
            record.seen = record.states.len();
        }
    }

    fn unseen(&self, client: &str) -> Vec<String> {
        let records = self.by_client.lock().unwrap();
        records.get(client).map_or(Vec::new(), |record| {
            record.states[record.seen..].iter().map(ToString::to_string).collect()
        })
    }

    /// All that was reported for this client.
    pub fn states(&self, client: &str) -> Vec<ConnState> {
        self.by_client
            .lock()
            .unwrap()
            .get(client)
            .map_or(Vec::new(), |record| record.states.clone())
    }

    /// All that was reported, connection by connection.
    pub fn all(&self) -> Vec<Vec<ConnState>> {
        self.by_id.lock().unwrap().values().cloned().collect()
    }

    /// Why this client's connection ended, as the hook saw it at Closed.
    pub fn reason(&self, client: &str) -> Option<CloseReason> {
        self.by_client.lock().unwrap()[client].reason
    }

    /// This client's connection.
    pub fn conn(&self, client: &str) -> Conn {
        self.by_client.lock().unwrap()[client].conn.clone().unwrap()
    }
}
