//! The page in a browser: Chromium, without a window.
//!
//! ```console
//! $ STATUS_SCREENSHOTS=docs cargo test --all-features --test it status::browser
//! ```
//!
//! makes the README's picture, and others beside it.

use std::path::Path;
use std::time::Duration;

use super::crowd::{User, gather};
use super::devtools::Browser;
#[cfg(unix)]
use super::names::NASTY;
use super::site::{PATH, Site, address, becomes_idle, exchange, read_head};

#[tokio::test(start_paused = true)]
async fn chromium() {
    // Where it is not, there is no need to make anything up.
    let Some(mut browser) = Browser::start().await else {
        println!("no Chromium here: skipped (Debian has it in the package chromium)");
        return;
    };
    let site = Site::with(|page| {
        page.allow_actions(|_, _| true)
            .column("user", |conn| conn.get::<User>().map(|User(name)| name.to_owned()))
    });
    let crowd = gather(&site).await;
    // From here on in real time, which the browser lives in.
    tokio::time::resume();
    browser.look(1360, 900, "dark").await;
    browser.open(&format!("http://localhost:{}{PATH}", site.addr.port())).await;
    browser.until("document.querySelector('#live').dataset.live === 'live'").await;
    browser.until("document.querySelectorAll('#rows tbody tr').length === 25").await;
    browser.until("document.querySelectorAll('#closed tbody tr').length === 256").await;
    if let Ok(folder) = std::env::var("STATUS_SCREENSHOTS") {
        pictures(&mut browser, Path::new(&folder)).await;
    }
    shows_what_is_there(&mut browser, &site, crowd.len()).await;
    filters(&mut browser).await;
    sorts(&mut browser).await;
    pages(&mut browser, &site).await;
    #[cfg(unix)]
    escapes(&mut browser, &site).await;
    closes(&mut browser, &site).await;
    fits_on_a_phone(&mut browser).await;
    assert_eq!(browser.errors, [""; 0]);
    goes_on_without_events(&mut browser, &site).await;
}

async fn shows_what_is_there(browser: &mut Browser, site: &Site, at_least: usize) {
    assert!(at_least > 100, "{at_least}");
    assert!(site.connections.len() >= at_least);
    browser.until("document.title.endsWith(' connections')").await;
    browser
        .until("document.querySelector('#spark-open path.line').getAttribute('d').length > 200")
        .await;
    browser
        .until(
            "[...document.querySelectorAll('#ages .column')].some((bar) => bar.offsetHeight > 50)",
        )
        .await;
    browser.until("document.querySelectorAll('#peers li').length === 10").await;
    browser.until("document.querySelectorAll('#reasons li').length >= 3").await;
    // Live: what comes is there with the next event.
    let open = "Number(document.querySelector('#open').textContent)";
    let before = browser.eval(open).await.as_u64().unwrap();
    let more: Vec<_> =
        (0..50).map(|n| site.connect_from(address(&format!("10.9.0.{n}:1")))).collect();
    browser.until(&format!("{open} >= {}", before + 45)).await;
    drop(more);
    browser.until(&format!("{open} < {}", before + 10)).await;
}

const BADGES: &str =
    "[...document.querySelectorAll('#rows .badge')].map((badge) => badge.textContent)";

/// As if somebody typed.
async fn fill(browser: &mut Browser, name: &str, value: &str) {
    browser
        .eval(&format!(
            "(() => {{ const field = document.querySelector('#filter [name={name}]'); \
             field.value = '{value}'; \
             field.dispatchEvent(new Event('input', {{ bubbles: true }})); }})()"
        ))
        .await;
}

async fn click(browser: &mut Browser, selector: &str) {
    browser.eval(&format!("document.querySelector(`{selector}`).click()")).await;
}

async fn filters(browser: &mut Browser) {
    assert_ne!(browser.eval(&format!("new Set({BADGES}).size")).await, 1);
    click(browser, "#filter [value=hijacked]").await;
    browser
        .until(&format!("{BADGES}.length && {BADGES}.every((state) => state === 'hijacked')"))
        .await;
    click(browser, "#filter [value=hijacked]").await;
    fill(browser, "peer", "2001:db8::/32").await;
    let peers = "[...document.querySelectorAll('#rows td.peer')].map((cell) => cell.textContent)";
    browser
        .until(&format!("{peers}.length && {peers}.every((peer) => peer.startsWith('[2001:db8:'))"))
        .await;
    fill(browser, "peer", "2001:db8::/999").await;
    browser
        .until("document.querySelector('#filter-error').textContent.includes('10.0.0.0/8')")
        .await;
    browser.until("document.querySelector('#filter [name=peer]').ariaInvalid === 'true'").await;
    // The address bar says the filter, and another window would show the same.
    browser.until("location.hash.includes('peer=2001')").await;
    // It is refused, and the browser says so.
    browser.errors.retain(|error| !error.contains("400"));
    click(browser, "#filter [type=reset]").await;
    browser.until("document.querySelector('#filter-error').hidden").await;
    click(browser, "#peers button").await;
    browser
        .until(&format!("new Set({peers}.map((peer) => peer.replace(/:[0-9]+$/, ''))).size === 1"))
        .await;
    click(browser, "#filter [type=reset]").await;
    browser.until("document.querySelectorAll('#rows tbody tr').length === 25").await;
}

async fn sorts(browser: &mut Browser) {
    let requests = "[...document.querySelectorAll('#rows tbody tr')].map((row) => Number(row.cells[6].textContent))";
    let in_order =
        |order: &str| format!("{requests}.every((n, i, all) => !i || all[i - 1] {order} n)");
    click(browser, "th[data-sort=requests] button").await;
    browser.until(&format!("{} && {requests}[0] > 20", in_order(">="))).await;
    browser
        .until("document.querySelector('th[data-sort=requests]').ariaSort === 'descending'")
        .await;
    click(browser, "th[data-sort=requests] button").await;
    browser.until(&format!("{} && {requests}[0] === 0", in_order("<="))).await;
    browser.until("document.querySelectorAll('th[aria-sort]').length === 1").await;
}

async fn pages(browser: &mut Browser, site: &Site) {
    let oldest = site.connections.iter().map(|conn| conn.id()).min().unwrap();
    let ids =
        "[...document.querySelectorAll('#rows tbody tr')].map((row) => row.dataset.key).join()";
    click(browser, "th[data-sort=id] button").await;
    browser.until("document.querySelector('th[data-sort=id]').ariaSort === 'ascending'").await;
    browser.until("document.querySelector('#range').textContent.startsWith('1–25 of ')").await;
    browser
        .until(&format!("document.querySelector('#rows tbody tr').dataset.key === '{oldest}'"))
        .await;
    let first = browser.eval(ids).await;
    click(browser, "#next").await;
    browser.until("document.querySelector('#range').textContent.startsWith('26–50 of ')").await;
    assert_ne!(browser.eval(ids).await, first);
    click(browser, "#previous").await;
    browser.until("document.querySelector('#range').textContent.startsWith('1–25 of ')").await;
    assert_eq!(browser.eval(ids).await, first);
    assert_eq!(browser.eval("document.querySelector('#previous').disabled").await, true);
}

#[cfg(unix)]
async fn escapes(browser: &mut Browser, site: &Site) {
    let peer = std::os::unix::net::SocketAddr::from_pathname(NASTY).unwrap();
    let client = site.connect_from(peer);
    fill(browser, "min_age", "0").await;
    click(browser, "th[data-sort=id] button").await;
    let shown = "/tmp/<script>alert(1)</script>";
    browser
        .until(&format!(
            "[...document.querySelectorAll('#rows td.peer')].some((cell) => cell.textContent.includes('{shown}'))"
        ))
        .await;
    assert_eq!(browser.eval("document.scripts.length").await, 1);
    assert_eq!(browser.eval("document.body.textContent.includes('\\u202e')").await, false);
    drop(client);
    browser
        .until(&format!(
            "[...document.querySelectorAll('#closed td.peer')].some((cell) => cell.textContent.includes('{shown}'))"
        ))
        .await;
    assert_eq!(browser.eval("document.scripts.length").await, 1);
    click(browser, "#filter [type=reset]").await;
}

async fn closes(browser: &mut Browser, site: &Site) {
    let (mut client, conn) = site.connect_from(address("10.7.7.7:7"));
    becomes_idle(&mut client).await;
    fill(browser, "peer", "10.7.7.7").await;
    let row = format!("#rows tr[data-key='{}']", conn.id());
    browser.until(&format!("document.querySelectorAll('#rows tbody tr').length === 1 && document.querySelector(`{row}`)")).await;
    let close = format!("{row} .does button:last-child");
    click(browser, &close).await;
    browser.until(&format!("document.querySelector(`{close}`).textContent === 'Sure?'")).await;
    assert_eq!(conn.close_reason(), None, "asked first");
    click(browser, &close).await;
    conn.closed().await;
    browser.until(&format!("!document.querySelector(`{row}`)")).await;
    browser
        .until(&format!(
            "document.querySelector(`#closed tr[data-key='{}'] .why`).textContent === 'closed by the program'",
            conn.id()
        ))
        .await;
    click(browser, "#filter [type=reset]").await;
    browser.until("document.querySelectorAll('#rows tbody tr').length === 25").await;
}

async fn fits_on_a_phone(browser: &mut Browser) {
    for width in [320, 390, 768, 1024, 2560] {
        browser.look(width, 844, "light").await;
        browser.until(&format!("document.documentElement.clientWidth === {width}")).await;
        let scrolls = browser.eval("document.documentElement.scrollWidth").await.as_u64().unwrap();
        assert!(scrolls <= width.into(), "{scrolls} at {width}");
    }
}

/// Eight others look.
async fn goes_on_without_events(browser: &mut Browser, site: &Site) {
    browser.open("about:blank").await;
    let ask = format!("GET {PATH}?format=events HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut viewers = Vec::new();
    while viewers.len() < 8 {
        let mut stream = site.connect().await;
        if exchange_head(&mut stream, &ask).await.starts_with("HTTP/1.1 200") {
            viewers.push(stream);
        } else {
            // The page has not gone yet.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    browser.open(&format!("http://127.0.0.1:{}{PATH}", site.addr.port())).await;
    browser.until("document.querySelector('#live').textContent === 'polling'").await;
    browser.until("Number(document.querySelector('#open').textContent) > 100").await;
    drop(viewers);
    browser.until("document.querySelector('#live').textContent === 'live'").await;
    click(browser, "#pause").await;
    browser.until("document.querySelector('#live').textContent === 'paused'").await;
    // Nobody looks any more.
    let reply =
        exchange(&mut site.connect().await, &ask.replace("events", "json&show=summary")).await;
    assert_eq!(reply.status, 200);
}

async fn exchange_head(stream: &mut tokio::net::TcpStream, request: &str) -> String {
    use tokio::io::AsyncWriteExt;

    stream.write_all(request.as_bytes()).await.unwrap();
    read_head(stream).await
}

async fn pictures(browser: &mut Browser, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for (name, width, height, scheme) in [
        ("status.png", 1360, 900, "dark"),
        ("status-light.png", 1360, 900, "light"),
        ("status-phone.png", 390, 3200, "dark"),
        ("status-phone-light.png", 390, 844, "light"),
    ] {
        browser.look(width, height, scheme).await;
        tokio::time::sleep(Duration::from_millis(1200)).await;
        std::fs::write(folder.join(name), browser.screenshot().await).unwrap();
    }
    browser.look(1360, 900, "dark").await;
}
