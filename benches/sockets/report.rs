//! What came of it: tables and plots.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use super::client::Protocol;
use super::server::Server;
use crate::support::document::{Section, plot_path};
use crate::support::environment;
use crate::support::go::Go;
use crate::support::plot::{bars, intervals, number};
use crate::support::statistics::Median;

/// How it was measured.
pub struct Run<'a> {
    pub machine: String,
    pub rounds: usize,
    pub slice: Duration,
    /// The cores of the servers and of the client.
    pub pinned: Option<(usize, usize)>,
    pub go: Option<&'a Go>,
}

/// What one server did in one slice.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    pub requests: usize,
    pub elapsed: Duration,
    pub cpu_time: Duration,
    pub client_cpu_time: Duration,
    pub events: u64,
}

impl Slice {
    fn requests_per_second(self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// In microseconds.
    fn cpu_per_request(self) -> f64 {
        self.cpu_time.as_secs_f64() * 1e6 / self.requests as f64
    }
}

/// The slices by protocol and server, in the order of the rounds.
pub type Results = HashMap<(usize, Server), Vec<Slice>>;

type Measure = fn(Slice) -> f64;

/// The median of the ratios of the same round, in per cent more or less.
fn change(server: &[Slice], base: &[Slice], measure: Measure) -> Median {
    let ratios = server.iter().zip(base).map(|(server, base)| measure(*server) / measure(*base));
    Median::of(ratios).map(|ratio| (ratio - 1.0) * 100.0)
}

fn median(slices: &[Slice], measure: Measure) -> f64 {
    Median::of(slices.iter().map(|slice| measure(*slice))).value
}

pub fn report(
    run: &Run<'_>,
    protocols: &[Protocol],
    results: &Results,
    write: bool,
) -> Result<(), Box<dyn Error>> {
    let mut section = Section::new("throughput");
    preamble(&mut section, run);
    if write {
        section.plot("throughput.svg", "Server CPU time per request");
        section.plot("ratios.svg", "Instrumented servers compared with bare ones, with intervals");
    }
    for (index, protocol) in protocols.iter().enumerate() {
        let by_server: ByServer<'_> = Server::ALL
            .into_iter()
            .filter_map(|server| Some((server, results.get(&(index, server))?.as_slice())))
            .collect();
        section.line(format!("### {}\n", protocol.name()));
        table(&mut section, &by_server);
        against_go(&mut section, &by_server);
    }
    if write {
        plot_cpu(protocols, results)?;
        plot_ratios(protocols, results)?;
        section.write()?;
    }
    Ok(())
}

type ByServer<'a> = Vec<(Server, &'a [Slice])>;

fn of<'a>(servers: &ByServer<'a>, server: Server) -> Option<&'a [Slice]> {
    servers.iter().find(|(of, _)| *of == server).map(|(_, slices)| *slices)
}

fn preamble(section: &mut Section, run: &Run<'_>) {
    let go = run.go.map_or("Go left out, since it was not there", |go| &go.version);
    section.line(format!("{}; {}; {go}.\n", run.machine, environment::versions()));
    let pinned = match run.pinned {
        Some((servers, client)) => {
            format!("servers on core {servers}, the client on core {client}")
        }
        None => "not bound to cores, since there are not two".to_owned(),
    };
    let intervals =
        if run.rounds < 6 { ", too few for 95 %: intervals are of all values" } else { "" };
    let seconds = run.slice.as_secs_f64();
    section.line(format!("{} rounds of {seconds} s{intervals}; {pinned}.\n", run.rounds));
}

fn table(section: &mut Section, servers: &ByServer<'_>) {
    section.table_head(&[
        "server",
        "requests/s",
        "to its base",
        "CPU per request",
        "to its base",
        "events per request",
        "busy",
    ]);
    for (server, slices) in servers {
        let base = server.base().and_then(|base| of(servers, base));
        let compared =
            |measure| base.map_or("base".to_owned(), |base| percent(change(slices, base, measure)));
        section.row(&[
            server.name().to_owned(),
            number(median(slices, Slice::requests_per_second), 0),
            compared(Slice::requests_per_second),
            format!("{:.2} µs", median(slices, Slice::cpu_per_request)),
            compared(Slice::cpu_per_request),
            format!("{:.2}", median(slices, |slice| slice.events as f64 / slice.requests as f64)),
            format!(
                "{:.0} %",
                median(slices, |slice| {
                    slice.cpu_time.as_secs_f64() / slice.elapsed.as_secs_f64() * 100.0
                })
            ),
        ]);
    }
    section.line("");
    let client = servers
        .iter()
        .flat_map(|(_, slices)| slices.iter())
        .map(|slice| slice.client_cpu_time.as_secs_f64() * 1e6 / slice.requests as f64);
    let client = Median::of(client).value;
    section.line(format!("The client itself takes {client:.1} µs of CPU time for a request.\n"));
}

fn against_go(section: &mut Section, servers: &ByServer<'_>) {
    let Some(go) = of(servers, Server::GoHook) else {
        return;
    };
    section.table_head(&["to Go's net/http with ConnState", "requests/s", "CPU per request"]);
    for (server, slices) in servers.iter().filter(|(server, _)| server.is_ours()) {
        section.row(&[
            server.name().to_owned(),
            percent(change(slices, go, Slice::requests_per_second)),
            percent(change(slices, go, Slice::cpu_per_request)),
        ]);
    }
    section.line("");
}

/// `+1.2 % [+0.8, +1.6]`
fn percent(change: Median) -> String {
    format!("{:+.1} % [{:+.1}, {:+.1}]", change.value, change.low, change.high)
}

fn plot_cpu(protocols: &[Protocol], results: &Results) -> Result<(), Box<dyn Error>> {
    let panels = protocols.iter().enumerate().map(|(index, protocol)| bars::Panel {
        title: protocol.name(),
        bars: Server::ALL
            .into_iter()
            .filter(|server| *server != Server::BareAgain)
            .filter_map(|server| {
                Some(bars::Bar {
                    label: server.name().replace('`', ""),
                    value: median(results.get(&(index, server))?, Slice::cpu_per_request),
                    ours: server.is_ours(),
                    target: None,
                })
            })
            .collect(),
    });
    bars::draw(
        &plot_path("throughput.svg"),
        "Server CPU time per request, in microseconds",
        "Less is better. Medians of one run, sockets and the system included, one core each.",
        &panels.collect::<Vec<_>>(),
    )
}

fn plot_ratios(protocols: &[Protocol], results: &Results) -> Result<(), Box<dyn Error>> {
    let measures: [Measure; 2] = [Slice::requests_per_second, Slice::cpu_per_request];
    let panels = protocols.iter().enumerate().map(|(index, protocol)| intervals::Panel {
        title: protocol.name(),
        columns: ["requests per second", "CPU time per request"].map(str::to_owned).to_vec(),
        rows: Server::ALL
            .into_iter()
            .filter_map(|server| {
                let slices = results.get(&(index, server))?;
                let base = results.get(&(index, server.base()?))?;
                let dots = measures.map(|measure| change(slices, base, measure));
                Some(intervals::Row {
                    label: server.name().replace('`', ""),
                    ours: server.is_ours(),
                    dots: dots.to_vec(),
                })
            })
            .collect(),
    });
    intervals::draw(
        &plot_path("ratios.svg"),
        "With connection states, compared with the same server without",
        "Medians of the rounds' ratios, with their 95 % intervals. The first row shows what noise is.",
        &panels.collect::<Vec<_>>(),
    )
}
