//! Random HTTP/1 connections: requests that keep the connection, and an end.

use super::Writer;

pub(super) fn write(writer: &mut Writer) {
    if writer.one_in(3) {
        writer.pause();
    }
    for _ in 0..writer.below(6) {
        match writer.below(10) {
            0..4 => simple(writer),
            4..6 => with_body(writer),
            6 => expecting(writer),
            7 => waiting(writer),
            8 => pipelined(writer),
            _ => in_a_split_head(writer),
        }
    }
    end(writer);
    writer.pause();
}

/// Reads these responses, before or after a pause.
fn answered(writer: &mut Writer, responses: &[&str]) {
    let late = writer.one_in(4);
    if !late {
        writer.pause();
    }
    for response in responses {
        writer.step(format!("await response {response}"));
    }
    if late {
        writer.pause();
    }
}

/// A request without a body, and what awaits its answer.
fn request(writer: &mut Writer) -> (String, &'static str) {
    let (request, response) = [
        ("get /", "200"),
        ("get /empty", "200"),
        ("get /chunked", "200"),
        ("get /status/204", "204"),
        ("get /status/304", "304"),
        ("get /status/404", "404"),
        ("get /60k", "200"),
        ("request HEAD /", "200 head"),
        ("request HEAD /chunked", "200 head"),
        ("request GET /trailers \"TE: trailers\"", "200"),
        ("request OPTIONS /", "200"),
        ("request DELETE /empty", "200"),
        ("request GET / 1.0 \"Connection: keep-alive\"", "200"),
        ("request GET / \"Connection: keep-alive\"", "200"),
        ("request GET / \"Connection: upgrade\" \"Upgrade: something\"", "200"),
    ][writer.below(15)];
    (request.to_owned(), response)
}

fn simple(writer: &mut Writer) {
    let (request, response) = request(writer);
    let how = if writer.one_in(6) { "bytewise " } else { "" };
    writer.step(format!("{how}{request}"));
    answered(writer, &[response]);
}

/// A head and a body as steps that send them.
fn head_and_body(writer: &mut Writer) -> (String, Vec<String>) {
    if writer.one_in(2) {
        return with_length(writer, "/echo");
    }
    let head = format!("request {} /echo \"Transfer-Encoding: chunked\"", method(writer));
    let mut body: Vec<String> =
        parts(writer).iter().map(|length| format!("chunk \"x\" * {length}")).collect();
    body.push(writer.pick(&["last-chunk", "send \"0\\r\\nX-Check: 1\\r\\n\\r\\n\""]).to_owned());
    (head, body)
}

fn with_length(writer: &mut Writer, path: &str) -> (String, Vec<String>) {
    let parts = parts(writer);
    let length: usize = parts.iter().sum();
    let head = format!("request {} {path} \"Content-Length: {length}\"", method(writer));
    (head, parts.iter().map(|length| format!("send \"x\" * {length}")).collect())
}

fn method<'a>(writer: &mut Writer) -> &'a str {
    writer.pick(&["POST", "PUT", "PATCH", "GET"])
}

/// How long the parts of a body are.
fn parts(writer: &mut Writer) -> Vec<usize> {
    (0..1 + writer.below(3)).map(|_| [1, 5, 100, 3000][writer.below(4)]).collect()
}

fn with_body(writer: &mut Writer) {
    let (head, body) = head_and_body(writer);
    match writer.below(4) {
        // For a handler that does not read it. hyper reads what it gets at
        // once, and that is not more than a chunk.
        0 => {
            let (head, body) = with_length(writer, "/ignore");
            writer.step(format!("{head}; {}", body.join("; ")));
        }
        1 => writer.step(format!("{head}; {}", body.join("; "))),
        _ => {
            writer.step(head);
            for part in body {
                if writer.one_in(2) {
                    writer.pause();
                }
                writer.step(part);
            }
        }
    }
    answered(writer, &["200"]);
}

fn expecting(writer: &mut Writer) {
    let (head, body) = head_and_body(writer);
    writer.step(format!("{head} \"Expect: 100-continue\""));
    if writer.one_in(2) {
        writer.pause();
    }
    writer.step("await response 100");
    for part in body {
        if writer.one_in(3) {
            writer.pause();
        }
        writer.step(part);
    }
    answered(writer, &["200"]);
}

/// A handler that waits, before its answer or in the middle of it.
fn waiting(writer: &mut Writer) {
    let key = writer.key();
    let path = writer.pick(&["wait", "parts"]);
    writer.step(format!("get /{path}/{key}"));
    writer.pause();
    if writer.one_in(3) {
        // The next request is there before this one is answered.
        writer.step("get /");
        writer.pause();
        writer.step(format!("release {key}"));
        answered(writer, &["200", "200"]);
    } else {
        writer.step(format!("release {key}"));
        answered(writer, &["200"]);
    }
}

fn pipelined(writer: &mut Writer) {
    let mut requests = Vec::new();
    let mut responses = Vec::new();
    for _ in 0..2 + writer.below(3) {
        if writer.one_in(4) {
            let (head, body) = head_and_body(writer);
            requests.push(format!("{head}; {}", body.join("; ")));
            responses.push("200");
        } else {
            let (request, response) = request(writer);
            requests.push(request);
            responses.push(response);
        }
    }
    writer.step(requests.join("; "));
    answered(writer, &responses);
}

/// A head with a pause in it: here Active comes with its first byte.
fn in_a_split_head(writer: &mut Writer) {
    let head = "GET / HTTP/1.1\\r\\nHost: test\\r\\n\\r\\n";
    let at = [1, 3, 5, 14, 18, 20][writer.below(6)];
    writer.step(format!("send \"{}\"", &head[..at]));
    writer.pause();
    writer.step(format!("send \"{}\"", &head[at..]));
    answered(writer, &["200"]);
}

/// How it ends.
fn end(writer: &mut Writer) {
    match writer.below(16) {
        0..4 => writer.step("close"),
        4 => writer.step("reset"),
        5 => writer.step("half-close"),
        6 => {
            writer.step("request GET / \"Connection: close\"");
            answered(writer, &["200"]);
            writer.step("await eof");
        }
        7 => {
            writer.step("request GET /chunked 1.0");
            writer.step("await eof");
        }
        8 => {
            writer.step("get /close");
            answered(writer, &["200"]);
        }
        9 => {
            let path = writer.pick(&["/panic", "/panic-late", "/body-error"]);
            writer.step(format!("get {path}"));
            writer.step("await eof");
        }
        10 => {
            let path = writer.pick(&["/slow", "/stream", "/big", "/big-chunked"]);
            writer.step(format!("get {path}"));
            writer.pause();
            writer.step("reset");
        }
        11 => {
            let (head, body) = head_and_body(writer);
            writer.step(head);
            if body.len() > 1 {
                writer.step(&body[0]);
            }
            writer.pause();
            writer.step("reset");
        }
        12 | 13 => {
            writer.step("request GET /upgrade \"Connection: upgrade\" \"Upgrade: echo\"");
            tunnel(writer, "101");
        }
        14 => {
            writer.step("request CONNECT test:443 \"X-Field: 1\"");
            tunnel(writer, "200 head");
        }
        _ => {
            writer.step("send \"GET / HT\"");
            writer.pause();
            let end = writer.pick(&["close", "reset"]);
            writer.step(end);
        }
    }
}

fn tunnel(writer: &mut Writer, response: &str) {
    answered(writer, &[response]);
    for _ in 0..writer.below(3) {
        writer.step("send \"ping\"");
        writer.step("await \"ping\"");
        if writer.one_in(2) {
            writer.pause();
        }
    }
    let end = writer.pick(&["close", "reset", "half-close"]);
    writer.step(end);
}
