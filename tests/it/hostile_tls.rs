//! TLS over streams that hold bytes back: it takes an answer's bytes long
//! before it sends them, and Idle has to wait until the client could read
//! them.

use std::io::{ErrorKind, Read, Write};
use std::sync::{Arc, Mutex};

use hyper_connstate::{Conn, ConnState};
use rustls::ClientConnection;

use crate::hostile::conversation::{self, Conversation, Protocol};
use crate::hostile::plan::{ALL, Fault, Pending, Plan};
use crate::hostile::run::{answer_ends, check_cut_short, streams_ended};
use crate::hostile::stack::Stack;
use crate::hostile::stream::{Control, Hostile};
use crate::support::{start_watchdog, tls};

/// The client's end.
struct Client {
    tls: ClientConnection,
    /// How much of the wire it has read.
    position: usize,
    /// What the server has said.
    plain: Vec<u8>,
}

impl Client {
    fn new(protocol: Protocol) -> Self {
        let alpn = if protocol == Protocol::Http1 { "http/1.1" } else { "h2" };
        Self { tls: tls::client(alpn), position: 0, plain: Vec::new() }
    }

    /// Reads what is on the wire. What is cut short is left.
    fn read(&mut self, wire: &[u8]) {
        let mut rest = &wire[self.position..];
        self.position = wire.len();
        while !rest.is_empty() {
            self.tls.read_tls(&mut rest).unwrap();
            self.tls.process_new_packets().unwrap();
            let _ = self.tls.reader().read_to_end(&mut self.plain);
        }
    }

    fn write(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).unwrap();
        }
        bytes
    }
}

/// What has been reported, and how much the client could read at each Idle.
#[derive(Default)]
struct Reports {
    states: Vec<String>,
    plain_at_idle: Vec<Vec<u8>>,
    /// The stream was there when Closed was reported.
    too_early: bool,
}

/// Carries bytes between the two until nothing more comes.
async fn carry(control: &Control, client: &Mutex<Client>) {
    loop {
        let bytes = {
            let mut client = client.lock().unwrap();
            client.read(&control.lock().wire);
            client.write()
        };
        if !bytes.is_empty() {
            control.send(&bytes);
        }
        let before = control.lock().wire.len();
        control.pause().await;
        if control.lock().wire.len() == before && bytes.is_empty() {
            return;
        }
    }
}

async fn check(stack: Stack, conversation: &Conversation, plan: Plan, ends: &[usize]) -> usize {
    let context = format!("{stack:?}, {:?}, {plan:?}", conversation.name);
    let (stream, control) = Hostile::new(plan);
    let client = Arc::new(Mutex::new(Client::new(conversation.protocol)));
    let reports = Arc::new(Mutex::new(Reports::default()));
    let hook = {
        let (control, client, reports) = (control.clone(), client.clone(), reports.clone());
        move |_: &Conn, state: ConnState| {
            let mut reports = reports.lock().unwrap();
            reports.states.push(state.to_string());
            if state == ConnState::Idle {
                let mut client = client.lock().unwrap();
                client.read(&control.lock().wire);
                reports.plain_at_idle.push(client.plain.clone());
            }
            reports.too_early |= state == ConnState::Closed && !control.lock().dropped;
        }
    };
    let task = stack.serve_tls(stream, hook);

    let mut expected = vec!["new"];
    let as_expected = |expected: &[&str]| {
        let reports = reports.lock().unwrap();
        match plan.fault {
            None => assert_eq!(reports.states, expected, "{context}"),
            Some(_) if reports.states.last().is_some_and(|last| last == "closed") => {
                let expected: Vec<_> = expected.iter().map(|word| (*word).to_owned()).collect();
                check_cut_short(&reports.states, &expected, &context);
            }
            Some(_) => {}
        }
    };
    carry(&control, &client).await;
    as_expected(&expected);
    for part in &conversation.parts {
        client.lock().unwrap().tls.writer().write_all(&part.bytes).unwrap();
        carry(&control, &client).await;
        expected.extend(part.states.split_whitespace());
        as_expected(&expected);
    }
    client.lock().unwrap().tls.send_close_notify();
    carry(&control, &client).await;
    control.send_end_of_file();
    carry(&control, &client).await;
    expected.extend(conversation.end.split_whitespace());
    as_expected(&expected);
    task.abort();

    let reports = reports.lock().unwrap();
    assert_eq!(reports.states.last().unwrap(), "closed", "{context}");
    assert!(control.lock().dropped && !reports.too_early, "{context}");
    for (index, plain) in reports.plain_at_idle.iter().enumerate() {
        match conversation.protocol {
            Protocol::Http1 => assert!(plain.len() >= ends[index], "{context}: {}", plain.len()),
            Protocol::Http2(answered) => {
                assert!(streams_ended(plain) >= answered[index], "{context}");
            }
        }
    }
    control.lock().done.len()
}

fn conversations() -> Vec<Conversation> {
    let all = [conversation::http1(), conversation::http2()].concat();
    let names = ["GETs", "POSTs", "chunks", "an answer of 150 kB"];
    let http2 = ["streams one by one", "overlapping streams", "an answer of 60 kB"];
    let wanted = |conversation: &Conversation| {
        names.contains(&conversation.name) || http2.contains(&conversation.name)
    };
    all.into_iter().filter(wanted).collect()
}

/// Has every conversation over these streams, with every stack that has TLS.
async fn check_all(plans: &[Plan]) {
    start_watchdog();
    for conversation in conversations() {
        let ends = answer_ends(Stack::Tower, &conversation).await;
        for (index, plan) in plans.iter().enumerate() {
            let stack = Stack::ALL[index % Stack::ALL.len().min(3)];
            if !(conversation.large && (plan.reads[0] == 1 || plan.writes[0] == 1)) {
                check(stack, &conversation, *plan, &ends).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pieces_pauses_and_buffers() {
    let mut plans = Vec::new();
    for (reads, writes) in [(&[1][..], &[1][..]), (&[7, 300], &[5, 5000]), (&[ALL], &[ALL])] {
        for buffered in [None, Some(1000), Some(ALL)] {
            for (pending, wakes_late) in
                [(Pending::Never, true), (Pending::Each, true), (Pending::Each, false)]
            {
                plans.push(Plan { reads, writes, buffered, pending, wakes_late, ..Plan::PLAIN });
            }
        }
    }
    check_all(&plans).await;
}

/// One operation of the stream below fails, or is pending, each in turn.
#[tokio::test(start_paused = true)]
async fn trouble_at_each_operation() {
    start_watchdog();
    let buffered = Plan { buffered: Some(2000), ..Plan::PLAIN };
    for conversation in conversations() {
        let ends = answer_ends(Stack::Tower, &conversation).await;
        for plan in [Plan::PLAIN, buffered] {
            for at in 0..check(Stack::Tower, &conversation, plan, &ends).await {
                let stack = Stack::ALL[at % Stack::ALL.len().min(3)];
                let pending = Plan { pending: Pending::Once(at), ..plan };
                check(stack, &conversation, pending, &ends).await;
                for kind in [ErrorKind::ConnectionReset, ErrorKind::TimedOut] {
                    let fault = Some((at, Fault::Lasting(kind)));
                    check(stack, &conversation, Plan { fault, ..plan }, &ends).await;
                }
            }
        }
    }
}
