//! Rows: which, in which order, in pages.

use std::collections::BTreeSet;
use std::time::Duration;

use hyper_connstate::Conn;
use serde_json::Value;
use tokio::io::{AsyncWriteExt, DuplexStream};

use super::site::{Site, address, becomes_idle};
use crate::support::settle;

/// Many that differ in all that rows are sorted by.
async fn many(site: &Site, count: u16) -> Vec<(DuplexStream, Conn)> {
    let mut clients = Vec::new();
    for index in 0..count {
        let peer = match index % 4 {
            0 => format!("[2001:db8::{:x}]:443", index % 13),
            _ => format!("10.0.{}.{}:{}", index % 3, index % 7, 1000 + index),
        };
        let (mut client, conn) = site.connect_from(address(&peer));
        for _ in 0..index % 3 {
            becomes_idle(&mut client).await;
        }
        if index % 5 == 0 {
            client.write_all(b"GET /slow HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(u64::from(index % 11) * 100)).await;
        clients.push((client, conn));
    }
    settle().await;
    clients
}

fn ids(document: &Value) -> Vec<u64> {
    let rows = document["rows"].as_array().unwrap();
    rows.iter().map(|row| row["id"].as_u64().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn filters() {
    let site = Site::start();
    let _clients = many(&site, 60).await;
    let all = site.json("show=rows&limit=1000").await;
    let all = all["rows"].as_array().unwrap().clone();
    let check = async |query: &str, matches: &dyn Fn(&Value) -> bool| {
        let document = site.json(&format!("show=rows&limit=1000&{query}")).await;
        let own = document["own"].as_u64().unwrap();
        let found: BTreeSet<_> = ids(&document).into_iter().filter(|id| *id != own).collect();
        let expected: BTreeSet<_> =
            all.iter().filter(|row| matches(row)).map(|row| row["id"].as_u64().unwrap()).collect();
        assert!(!expected.is_empty(), "{query} is no test");
        // The one that asked first has gone.
        let gone = all.last().unwrap()["id"].as_u64().unwrap();
        assert_eq!(found, expected.into_iter().filter(|id| *id != gone).collect(), "{query}");
    };
    check("state=new", &|row| row["state"] == "new").await;
    check("state=active", &|row| row["state"] == "active").await;
    check("state=active,idle", &|row| row["state"] == "active" || row["state"] == "idle").await;
    check("protocol=unknown", &|row| row["protocol"] == "unknown").await;
    check("protocol=http1&state=idle", &|row| {
        row["protocol"] == "HTTP/1" && row["state"] == "idle"
    })
    .await;
    let peer = |row: &Value| row["peer"].as_str().unwrap().to_owned();
    check("peer=10.0.1.0%2F24", &|row| peer(row).starts_with("10.0.1.")).await;
    check("peer=10.0.1.1", &|row| peer(row).starts_with("10.0.1.1:")).await;
    check("peer=2001:db8::/32", &|row| peer(row).starts_with("[2001")).await;
    check("min_age=10s", &|row| row["age"].as_f64().unwrap() >= 10.0).await;
    check("idle_for=10s", &|row| {
        row["state"] == "idle" && row["state_for"].as_f64().unwrap() >= 10.0
    })
    .await;
    check("state=&protocol=&peer=&min_age=&idle_for=", &|_| true).await;
    let none = site.json("show=rows&protocol=http2").await;
    assert_eq!((ids(&none).len(), &none["matched"]), (0, &0.into()));
}

#[tokio::test(start_paused = true)]
async fn sorts_and_pages() {
    let site = Site::start();
    let clients = many(&site, 130).await;
    for sort in
        ["id", "peer", "state", "state_for", "age", "protocol", "requests", "bytes_received"]
    {
        for descending in ["", "-"] {
            let sort = format!("{descending}{sort}");
            // The peers' range leaves those out that ask.
            let query = format!("show=rows&peer=10.0.0.0/8&sort={sort}");
            let whole = site.json(&format!("{query}&limit=1000")).await;
            let whole_ids = ids(&whole);
            assert_eq!(whole_ids.len(), clients.iter().filter(|(_, conn)| is_v4(conn)).count());
            check_order(&whole["rows"], &sort);
            let mut paged = Vec::new();
            let mut after = String::new();
            loop {
                let page = site.json(&format!("{query}&limit=20&after={after}")).await;
                assert_eq!(page["matched"], whole_ids.len());
                assert!(ids(&page).len() <= 20);
                paged.extend(ids(&page));
                let Some(next) = page["next"].as_u64() else { break };
                assert_eq!(next, *paged.last().unwrap());
                after = next.to_string();
            }
            assert_eq!(paged, whole_ids, "{sort}");
        }
    }
}

fn is_v4(conn: &Conn) -> bool {
    conn.remote_addr().ip().unwrap().is_ipv4()
}

fn check_order(rows: &Value, sort: &str) {
    let (by, descending) = match sort.strip_prefix('-') {
        Some(by) => (by, true),
        None => (sort, false),
    };
    let states = ["new", "active", "idle", "hijacked"];
    let key = |row: &Value| match by {
        "peer" => {
            let peer = address(row["peer"].as_str().unwrap());
            format!(
                "{:?} {:05}",
                peer.ip()
                    .to_string()
                    .split('.')
                    .map(|part| format!("{part:0>3}"))
                    .collect::<Vec<_>>(),
                peer.port()
            )
        }
        "state" => states.iter().position(|state| row["state"] == *state).unwrap().to_string(),
        "protocol" => {
            if row["protocol"] == "unknown" {
                "0".to_owned()
            } else {
                format!("1{}", row["protocol"])
            }
        }
        by => format!("{:020.3}", row[by].as_f64().unwrap()),
    };
    let keys: Vec<_> = rows.as_array().unwrap().iter().map(key).collect();
    let in_order = keys
        .windows(2)
        .all(|pair| if descending { pair[0] >= pair[1] } else { pair[0] <= pair[1] });
    assert!(in_order, "{sort}: {keys:?}");
    assert!(keys.iter().collect::<BTreeSet<_>>().len() > 1, "{sort} is no test");
}

#[tokio::test(start_paused = true)]
async fn pages_go_on_behind_a_row_that_has_closed() {
    let site = Site::start();
    let mut clients = many(&site, 40).await;
    let query = "show=rows&peer=10.0.0.0/8&sort=-age&limit=10";
    let first = site.json(query).await;
    let last = first["next"].as_u64().unwrap();
    clients.retain(|(_, conn)| conn.id().get() != last);
    settle().await;
    let second = site.json(&format!("{query}&after={last}")).await;
    let rest = site.json("show=rows&peer=10.0.0.0/8&sort=-age&limit=1000").await;
    assert_eq!(ids(&second), ids(&rest)[9..19]);
    // By id its place is known for ever.
    let behind = site.json(&format!("show=rows&sort=id&after={last}")).await;
    assert!(ids(&behind)[0] > last);
    // One of which nothing is known any more.
    for _ in 0..300 {
        becomes_idle(&mut site.connect().await).await;
    }
    settle().await;
    let reply = site.get(&format!("{query}&after={last}")).await;
    assert_eq!(reply.status, 410, "{}", reply.body);
    assert!(reply.body.contains("begin again"), "{}", reply.body);
    // Of those that closed, only the last are kept.
    let document = site.json("show=closed").await;
    assert_eq!(document["closed"].as_array().unwrap().len(), 256);
    let summary = site.json("show=summary").await;
    let reasons = summary["summary"]["reasons"].as_array().unwrap();
    let counted: u64 = reasons.iter().map(|reason| reason["count"].as_u64().unwrap()).sum();
    assert_eq!(summary["summary"]["closed"], counted);
}

#[tokio::test(start_paused = true)]
async fn columns_of_ones_own() {
    #[derive(Clone)]
    struct User(String);
    let site = Site::with(|page| {
        page.column("user", |conn| conn.get::<User>().map(|User(name)| name))
            .column("even", |conn| Some((conn.id().get() % 2 == 0).to_string()))
    });
    let (_client, conn) = site.connect_from(address("10.0.0.1:1"));
    conn.insert(User("<b>ada</b>\n".to_owned()));
    let document = site.json("show=rows&peer=10.0.0.1").await;
    assert_eq!(document["columns"], serde_json::json!(["user", "even"]));
    assert_eq!(document["rows"][0]["more"][0], "<b>ada</b>\n");
    let text = site.get("show=rows").await.body;
    assert!(text.contains("<b>ada</b>\u{fffd}"), "{text}");

    let site = Site::with(|page| page.column("user", |_| panic!("a column's panic (wanted)")));
    crate::support::quiet_panics();
    assert_eq!(site.get("show=rows").await.status, 500);
    assert_eq!(site.get("show=summary").await.status, 200);
}
