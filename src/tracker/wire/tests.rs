//! Bytes in, facts out.

use super::*;

/// A server that says SETTINGS and GOAWAY in one piece has found an error no
/// less than one that says them in two.
#[test]
fn an_error_in_the_servers_first_bytes() {
    let settings = [0, 0, 0, SETTINGS, 0, 0, 0, 0, 0];
    let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let bytes = [&settings[..], &goaway].concat();
    for piece in [1, 9, 10, bytes.len()] {
        let mut wire = Wire::new();
        let mut facts = Vec::new();
        wire.read(PREFACE, u16::MAX, |_| {});
        for piece in bytes.chunks(piece) {
            wire.written(piece, 0, |fact| facts.push(fact));
        }
        assert_eq!(facts, [Fact::Http2Began, Fact::ProtocolError], "in pieces of {piece}");
    }
}
