//! HTTP/2 frames by hand (RFC 9113, section 6).

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.push(kind);
    frame.push(flags);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

pub fn data(stream: u32, payload: &[u8], flags: u8) -> Vec<u8> {
    frame(0x0, flags, stream, payload)
}

/// A header block without Huffman coding and without the dynamic table.
pub fn block(method: &str, path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    literal(&mut block, b"\x02", method);
    block.push(0x86); // :scheme http
    literal(&mut block, b"\x04", path);
    literal(&mut block, b"\x01", "test");
    block
}

fn literal(block: &mut Vec<u8>, name: &[u8], value: &str) {
    block.extend(name); // literal without indexing, indexed name
    block.push(value.len() as u8);
    block.extend(value.as_bytes());
}

pub fn headers(stream: u32, method: &str, path: &str, flags: u8) -> Vec<u8> {
    frame(0x1, flags | END_HEADERS, stream, &block(method, path))
}

pub fn get(stream: u32, path: &str) -> Vec<u8> {
    headers(stream, "GET", path, END_STREAM)
}

pub fn post(stream: u32, path: &str) -> Vec<u8> {
    headers(stream, "POST", path, 0)
}

pub fn continuation(stream: u32, payload: &[u8], flags: u8) -> Vec<u8> {
    frame(0x9, flags, stream, payload)
}

pub fn priority(stream: u32) -> Vec<u8> {
    frame(0x2, 0, stream, &[0, 0, 0, 0, 16])
}

pub fn reset(stream: u32) -> Vec<u8> {
    frame(0x3, 0, stream, &8_u32.to_be_bytes())
}

pub fn settings() -> Vec<u8> {
    frame(0x4, 0, 0, &[])
}

pub fn settings_ack() -> Vec<u8> {
    frame(0x4, 0x1, 0, &[])
}

pub fn ping() -> Vec<u8> {
    frame(0x6, 0, 0, &[0; 8])
}

pub fn goaway(last: u32) -> Vec<u8> {
    let mut payload = last.to_be_bytes().to_vec();
    payload.extend([0; 4]);
    frame(0x7, 0, 0, &payload)
}

pub fn window_update(stream: u32, increment: u32) -> Vec<u8> {
    frame(0x8, 0, stream, &increment.to_be_bytes())
}

/// The preface, empty SETTINGS, and room for large answers.
pub fn opening() -> Vec<u8> {
    [PREFACE, &settings()].concat()
}
