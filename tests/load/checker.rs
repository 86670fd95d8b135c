//! A hook that checks each report against the one before, for any number of
//! connections and in memory that was there from the start.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};

use hyper_connstate::ConnState::{self, Active, Closed, Hijacked, Idle, New};
use hyper_connstate::{Address, Conn, ConnIo, Hook};

/// A report of this connection is going on.
const BUSY: u8 = 0x80;
/// Nothing has been reported.
const NOTHING: u8 = 0;

#[derive(Debug)]
pub struct Checker {
    /// The id of the first connection; ids are counted in the whole process.
    first: u64,
    /// By the connection's id, from `first` on: what was last reported.
    last: Box<[AtomicU8]>,
    /// By state: how often it was reported.
    counts: [AtomicUsize; 5],
    /// What was wrong: the hook itself may not panic.
    faults: Mutex<Vec<String>>,
}

impl Checker {
    /// For the next so many connections of this process.
    pub fn new(room: usize) -> Self {
        let unknown = Address::Unknown;
        let another = ConnIo::new(tokio::io::empty(), unknown.clone(), unknown, ());
        let first = another.conn().id().get() + 1;
        let last = (0..room).map(|_| AtomicU8::new(NOTHING)).collect();
        Self { first, last, counts: Default::default(), faults: Mutex::default() }
    }

    pub fn count(&self, state: ConnState) -> usize {
        self.counts[state as usize].load(SeqCst)
    }

    /// Connections that have begun and not ended.
    pub fn unfinished(&self) -> usize {
        self.count(New) - self.count(Closed) - self.count(Hijacked)
    }

    /// Every report was in its place, and every connection has come to its
    /// end, once.
    pub fn assert_all_ended(&self) {
        self.assert_no_faults();
        assert_eq!(self.unfinished(), 0);
        let last = self.last.iter().map(|last| last.load(SeqCst));
        let used = last.filter(|last| *last != NOTHING);
        let ended = used.clone().filter(|last| [code(Closed), code(Hijacked)].contains(last));
        assert_eq!(ended.count(), used.count());
    }

    pub fn assert_no_faults(&self) {
        let faults = self.faults.lock().unwrap();
        assert!(faults.is_empty(), "{} faults, such as {:?}", faults.len(), &faults[..1]);
    }

    fn fault(&self, fault: String) {
        self.faults.lock().unwrap().push(fault);
    }
}

impl fmt::Display for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for state in [New, Active, Idle, Hijacked, Closed] {
            write!(f, "{state} {} ", self.count(state))?;
        }
        Ok(())
    }
}

const fn code(state: ConnState) -> u8 {
    state as u8 + 1
}

fn is_legal(previous: u8, next: ConnState) -> bool {
    let from = |states: &[ConnState]| states.iter().any(|state| code(*state) == previous);
    match next {
        New => previous == NOTHING,
        Active => from(&[New, Idle]),
        Idle | Hijacked => from(&[Active]),
        Closed => from(&[New, Active, Idle]),
    }
}

impl Hook for Checker {
    fn on_state(&self, conn: &Conn, state: ConnState) {
        self.counts[state as usize].fetch_add(1, SeqCst);
        let index = conn.id().get().checked_sub(self.first);
        let Some(last) = index.and_then(|index| self.last.get(index as usize)) else {
            return self.fault(format!("no room for {conn:?}"));
        };
        let previous = last.swap(BUSY | code(state), SeqCst);
        if previous & BUSY != 0 {
            self.fault(format!("{conn:?}: {state} is reported during another report"));
        } else if !is_legal(previous, state) {
            self.fault(format!("{conn:?}: {state} after state {previous}"));
        }
        if conn.state() != state {
            self.fault(format!("{conn:?}: {state} is reported"));
        }
        // Room for another thread to come in between, if it could.
        std::hint::spin_loop();
        last.store(code(state), SeqCst);
    }
}
