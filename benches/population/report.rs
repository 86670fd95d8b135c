//! What came of it: tables and a plot.

use super::Stack;
use super::client::Protocol;
use crate::support::document::{Section, plot_path, signed};
use crate::support::environment;
use crate::support::plot::lines::{self, Line, Panel};
use crate::support::plot::number as grouped;
use crate::support::statistics::Median;
use crate::{AtScale, ByProtocol, Result, number};

/// What the project wants a connection to add at most.
const BYTES: f64 = 512.0;
const ALLOCATIONS: f64 = 2.0;

/// An HTTP/1 request, and an HTTP/2 request without others beside it, is an
/// Active and an Idle.
const EVENTS: f64 = 2.0;

pub fn report(scales: &[AtScale], valgrind: Option<&str>, write: bool) -> Result {
    let mut section = Section::new("scale");
    let valgrind = valgrind.unwrap_or("no valgrind, so no instructions");
    let machine = environment::machine();
    section.line(format!("{machine}; {valgrind}; {}.\n", environment::versions()));
    if write {
        section.plot("scale.svg", "Memory and cost per event against the number of connections");
    }
    memory(&mut section, scales)?;
    cost(&mut section, scales)?;
    registry(&mut section, scales)?;
    if write {
        plot(scales)?;
        section.write()?;
    }
    Ok(())
}

/// What a stack adds to each connection: bytes, and allocations.
fn added(at: &AtScale, of: &ByProtocol, stack: Stack, what: &str) -> Result<f64> {
    let memory = |stack: Stack| number(&of.memory[stack as usize], what);
    Ok((memory(stack)? - memory(Stack::Bare)?) / at.connections as f64)
}

fn memory(section: &mut Section, scales: &[AtScale]) -> Result {
    section.line("### Memory per connection\n");
    section.line(format!(
        "Added by this crate, in bytes and allocations. The targets: {BYTES} and {ALLOCATIONS}.\n"
    ));
    section.table_head(&[
        "protocol",
        "connections",
        "bare hyper-util",
        "a loop of one's own: bytes",
        "allocations",
        "`serve`: bytes",
        "allocations",
    ]);
    for (index, protocol) in Protocol::ALL.into_iter().enumerate() {
        for at in scales {
            let of = &at.by_protocol[index];
            let bare = number(&of.memory[Stack::Bare as usize], "bytes")?;
            let mut row = vec![
                protocol.name().to_owned(),
                grouped(at.connections as f64, 0),
                grouped(bare / at.connections as f64, 0),
            ];
            for stack in [Stack::Foreign, Stack::Serve] {
                row.push(signed(added(at, of, stack, "bytes")?, 0));
                row.push(signed(added(at, of, stack, "allocations")?, 2));
            }
            section.row(&row);
        }
    }
    section.line("");
    Ok(())
}

fn cost(section: &mut Section, scales: &[AtScale]) -> Result {
    section.line("### Cost per event\n");
    section.line(
        "Each connection in turn is served a GET, in a loop of one's own, which reports two \
         events. Added to bare hyper-util, by event; the time is CPU time of passes in turn with \
         bare ones, and has in it what memory costs that is not in a cache.\n",
    );
    section.table_head(&[
        "protocol",
        "connections",
        "events per request",
        "instructions per event",
        "time per event",
        "a bare request's time",
    ]);
    for (index, protocol) in Protocol::ALL.into_iter().enumerate() {
        for at in scales {
            let of = &at.by_protocol[index];
            let time = per_event(of)?;
            let counted = of.requests.map(|(instructions, events)| (instructions / EVENTS, events));
            section.row(&[
                protocol.name().to_owned(),
                grouped(at.connections as f64, 0),
                counted.map_or("–".to_owned(), |(_, events)| format!("{events:.2}")),
                counted.map_or("–".to_owned(), |(instructions, _)| signed(instructions, 0)),
                format!("{:+.0} ns [{:+.0}, {:+.0}]", time.value, time.low, time.high),
                format!("{} ns", grouped(number(&of.time, "bare")?, 0)),
            ]);
        }
    }
    section.line("");
    Ok(())
}

/// Nanoseconds.
fn per_event(of: &ByProtocol) -> Result<Median> {
    let added = of.time.get("added").ok_or("no time was taken")?;
    Ok(added.map(|nanoseconds| nanoseconds / EVENTS))
}

fn registry(section: &mut Section, scales: &[AtScale]) -> Result {
    section.line("### `Connections::counts` and `snapshot`\n");
    section.line(
        "A call, and its share for each connection. The time is that of HTTP/1 connections as \
         above; the instructions are of connections that have only been accepted.\n",
    );
    section.table_head(&[
        "call",
        "connections",
        "time",
        "per connection",
        "instructions",
        "per connection",
    ]);
    for (index, name) in ["counts", "snapshot"].into_iter().enumerate() {
        for at in scales {
            let connections = at.connections as f64;
            let nanoseconds = number(&at.by_protocol[0].time, name)?;
            let instructions = at.registry_instructions.map(|calls| calls[index]);
            let instructions = |share: f64| {
                instructions.map_or("–".to_owned(), |count| grouped(count / share, 0))
            };
            section.row(&[
                format!("`{name}`"),
                grouped(connections, 0),
                format!("{} µs", grouped(nanoseconds / 1e3, 1)),
                format!("{} ns", grouped(nanoseconds / connections, 1)),
                instructions(1.0),
                instructions(connections),
            ]);
        }
    }
    section.line("");
    Ok(())
}

/// A line through what `value` gives for each scale.
fn line(
    label: impl Into<String>,
    scales: &[AtScale],
    value: impl Fn(&AtScale) -> Result<Median>,
) -> Result<Line> {
    let points = scales.iter().map(|at| Ok((at.connections as f64, value(at)?)));
    Ok(Line { label: label.into(), points: points.collect::<Result<_>>()? })
}

fn plot(scales: &[AtScale]) -> Result {
    let by_protocol = |value: &dyn Fn(&AtScale, &ByProtocol) -> Result<Median>| {
        let lines = Protocol::ALL.into_iter().enumerate();
        let lines = lines.map(|(index, protocol)| {
            line(protocol.name(), scales, |at| value(at, &at.by_protocol[index]))
        });
        lines.collect::<Result<Vec<_>>>()
    };
    let mut panels = vec![];
    for stack in [Stack::Foreign, Stack::Serve] {
        panels.push(Panel {
            title: format!("Bytes added to a connection, {}", stack.name().replace('`', "")),
            lines: by_protocol(&|at, of| added(at, of, stack, "bytes").map(Median::exact))?,
            target: Some(BYTES),
        });
    }
    if scales.iter().all(|at| at.registry_instructions.is_some()) {
        let instructions = |of: &ByProtocol| of.requests.map_or(0.0, |(count, _)| count / EVENTS);
        panels.push(Panel {
            title: "Instructions added for an event".to_owned(),
            lines: by_protocol(&|_, of| Ok(Median::exact(instructions(of))))?,
            target: None,
        });
    }
    panels.push(Panel {
        title: "Nanoseconds of CPU time added for an event".to_owned(),
        lines: by_protocol(&|_, of| per_event(of))?,
        target: None,
    });
    // With few connections it is the call that takes the time.
    let many = scales.iter().position(|at| at.connections >= 100).unwrap_or(0);
    let call = |name: &str| {
        line(name, &scales[many..], |at| {
            let time = at.by_protocol[0].time.get(name).ok_or("no time was taken")?;
            Ok(time.map(|nanoseconds| nanoseconds / at.connections as f64))
        })
    };
    panels.push(Panel {
        title: "Nanoseconds for each connection in Connections::counts and snapshot".to_owned(),
        lines: vec![call("counts")?, call("snapshot")?],
        target: None,
    });
    lines::draw(
        &plot_path("scale.svg"),
        "What many connections cost",
        "Flat is good: no connection pays for another. The axis of connections is logarithmic.",
        &panels,
    )
}
