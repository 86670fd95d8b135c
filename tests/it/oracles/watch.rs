//! A hook that remembers, and may close the connection at an Idle.

use std::sync::{Arc, Mutex, MutexGuard};

use hyper_connstate::{Conn, ConnState, Hook};

use super::search::Fault;
use super::wire::Far;

/// Of one connection.
#[derive(Clone)]
pub struct Watch(Arc<Mutex<Record>>);

pub struct Record {
    pub states: Vec<ConnState>,
    /// How many bytes stood on the wire at each Idle.
    pub wire_at_idle: Vec<usize>,
    far: Far,
    close_at: Option<usize>,
}

impl Watch {
    /// `close_at` says at which Idle to close the connection.
    pub fn new(far: &Far, close_at: Option<usize>) -> Self {
        let (states, wire_at_idle) = (Vec::new(), Vec::new());
        let far = far.clone();
        Self(Arc::new(Mutex::new(Record { states, wire_at_idle, far, close_at })))
    }

    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap()
    }

    /// The state last reported.
    pub fn state(&self) -> ConnState {
        self.record().states.last().copied().unwrap_or(ConnState::New)
    }

    pub fn words(&self) -> String {
        let words: Vec<_> = self.record().states.iter().map(ToString::to_string).collect();
        words.join(" ")
    }

    /// # Errors
    ///
    /// If the states are not in an order that there is.
    pub fn check_order(&self) -> Result<(), Fault> {
        use ConnState::*;
        let record = self.record();
        let fine = record.states.first() == Some(&New)
            && record.states.windows(2).all(|pair| match pair[0] {
                New => matches!(pair[1], Active | Closed),
                Active => matches!(pair[1], Idle | Hijacked | Closed),
                Idle => matches!(pair[1], Active | Closed),
                Hijacked | Closed => false,
            });
        drop(record);
        if fine { Ok(()) } else { Err(Fault::new("the order of the states", self.words())) }
    }
}

impl Hook for Watch {
    fn on_state(&self, conn: &Conn, state: ConnState) {
        let mut record = self.record();
        record.states.push(state);
        if state != ConnState::Idle {
            return;
        }
        let wire = record.far.sent();
        record.wire_at_idle.push(wire);
        if record.close_at == Some(record.wire_at_idle.len()) {
            drop(record);
            conn.close();
        }
    }
}
