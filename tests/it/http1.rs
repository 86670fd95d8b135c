//! HTTP/1: what Go's server reports, at every pause of the client.

use http::StatusCode;
use hyper_connstate::CloseReason;

use crate::support::handler::BIG;
use crate::support::{Answer, Peer, everywhere};

/// The connection is idle; closes it.
async fn close_idle(mut peer: Peer) {
    peer.close().await;
    peer.sees("closed").await;
}

/// The connection is open and was answered `status`; `active idle` is next.
async fn answered(peer: &mut Peer, status: u16) -> Vec<u8> {
    peer.sees("active idle").await;
    let Answer { head, body } = peer.response().await;
    let status = StatusCode::from_u16(status).unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {}", status.as_str())), "{head}");
    body
}

/// The server is done with the connection of its own accord.
async fn server_closes(mut peer: Peer) {
    peer.rest().await;
    peer.sees("").await;
}

#[tokio::test(start_paused = true)]
async fn connects_and_closes() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.close().await;
        peer.sees("closed").await;
    });
}

#[tokio::test(start_paused = true)]
async fn connects_and_half_closes() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.half_close().await;
        peer.sees("closed").await;
        server_closes(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn connects_and_resets() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.reset().await;
        peer.sees("closed").await;
    });
}

#[tokio::test(start_paused = true)]
async fn one_get() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.get("/").await;
        assert_eq!(answered(&mut peer, 200).await, b"hello\n");
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn one_get_then_half_close_and_reset() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.get("/").await;
        answered(&mut peer, 200).await;
        peer.half_close().await;
        peer.sees("closed").await;
    });
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.get("/").await;
        answered(&mut peer, 200).await;
        peer.reset().await;
        peer.sees("closed").await;
    });
}

#[tokio::test(start_paused = true)]
async fn many_gets_with_pauses() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        for _ in 0..5 {
            peer.get("/").await;
            answered(&mut peer, 200).await;
        }
        assert_eq!(peer.conn().requests(), 5);
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn the_client_says_close() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.get("/").await;
        answered(&mut peer, 200).await;
        peer.send("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await;
        peer.sees("active closed").await;
        server_closes(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn the_first_request_says_close() {
    everywhere!(async |mut peer: Peer| {
        peer.send("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await;
        peer.sees("new active closed").await;
        server_closes(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn the_handler_says_close() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.get("/").await;
        answered(&mut peer, 200).await;
        peer.get("/close").await;
        peer.sees("active closed").await;
        server_closes(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn http10() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.send("GET / HTTP/1.0\r\n\r\n").await;
        peer.sees("active closed").await;
        server_closes(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn http10_after_a_kept_request() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.get("/").await;
        answered(&mut peer, 200).await;
        peer.send("GET / HTTP/1.0\r\n\r\n").await;
        peer.sees("active closed").await;
        server_closes(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn http10_with_keep_alive() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        for _ in 0..3 {
            peer.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
            peer.sees("active idle").await;
            peer.response().await;
        }
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn three_pipelined_gets() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n".repeat(3)).await;
        peer.sees("active idle active idle active idle").await;
        for _ in 0..3 {
            peer.response().await;
        }
        assert_eq!(peer.conn().requests(), 3);
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn pipelined_posts() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        let post = "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 4\r\n\r\nbody";
        peer.send(post.repeat(3)).await;
        peer.sees("active idle active idle active idle").await;
        for _ in 0..3 {
            assert_eq!(peer.response().await.body, b"body");
        }
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn pipelined_and_then_closed_by_the_handler() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        let requests =
            ["/", "/close", "/"].map(|path| format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"));
        peer.send(requests.concat()).await;
        peer.sees("active idle active closed").await;
        server_closes(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_bogus_request() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.send("BOGUS REQUEST\r\n\r\n").await;
        peer.sees("active closed").await;
        server_closes(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_bogus_request_on_a_kept_connection() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.get("/").await;
        answered(&mut peer, 200).await;
        peer.send("BOGUS REQUEST\r\n\r\n").await;
        peer.sees("active closed").await;
        server_closes(peer).await;
    });
}

/// Read together with the request before, it begins nothing, as in Go; that
/// one was served.
#[tokio::test(start_paused = true)]
async fn a_bogus_request_behind_another() {
    let both = "GET / HTTP/1.1\r\nhost: test\r\n\r\nBOGUS REQUEST\r\n\r\n";
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.send(both).await;
        peer.sees("active idle closed").await;
        assert_eq!(peer.conn().close_reason(), Some(CloseReason::ProtocolError));
    });
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.get("/").await;
        answered(&mut peer, 200).await;
        peer.send(both).await;
        peer.sees("active idle closed").await;
        assert_eq!(peer.conn().close_reason(), Some(CloseReason::ProtocolError));
    });
}

#[tokio::test(start_paused = true)]
async fn a_head_byte_by_byte() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        for round in 0..2 {
            let head = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
            for (index, byte) in head.iter().enumerate() {
                peer.send([*byte]).await;
                match index {
                    // Go waits for the whole head; here it is the first byte.
                    0 => peer.sees("active").await,
                    _ if index + 1 == head.len() => peer.sees("idle").await,
                    _ if round == 0 => peer.sees("").await,
                    _ => {}
                }
            }
            peer.response().await;
        }
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn half_a_head_and_gone() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.send("GET / HT").await;
        peer.sees("active").await;
        peer.close().await;
        peer.sees("closed").await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_leading_empty_line() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.send("\r\n").await;
        peer.sees("active").await;
        peer.get("/").await;
        peer.sees("idle").await;
        peer.response().await;
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn heads_without_bodies() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.send("HEAD / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        peer.sees("active idle").await;
        assert!(peer.head().await.contains("content-length: 6"));
        for status in [204, 304, 404] {
            peer.get(&format!("/status/{status}")).await;
            answered(&mut peer, status).await;
        }
        peer.get("/empty").await;
        assert_eq!(answered(&mut peer, 200).await, b"");
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_big_answer_read_to_the_end() {
    for path in ["/big", "/big-stream", "/big-chunked"] {
        everywhere!(async |mut peer: Peer| {
            peer.sees("new").await;
            for _ in 0..2 {
                peer.get(path).await;
                // It does not fit into the socket.
                peer.sees("active").await;
                assert_eq!(peer.response().await.body.len(), BIG);
                peer.sees("idle").await;
            }
            close_idle(peer).await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn chunked_answers_and_trailers() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        for _ in 0..2 {
            peer.get("/chunked").await;
            assert_eq!(answered(&mut peer, 200).await, b"onetwothree");
            peer.send("GET /trailers HTTP/1.1\r\nhost: test\r\nte: trailers\r\n\r\n").await;
            peer.sees("active idle").await;
            let answer = peer.read_until("0\r\nx-checksum: 1\r\n\r\n").await;
            assert!(answer.contains("\r\nbody\r\n"), "{answer}");
        }
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn resets_in_the_middle_of_an_answer() {
    for path in ["/big", "/big-stream", "/big-chunked", "/stream"] {
        everywhere!(async |mut peer: Peer| {
            peer.sees("new").await;
            peer.get(path).await;
            peer.sees("active").await;
            peer.head().await;
            peer.reset().await;
            peer.sees("closed").await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_echoed() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        for _ in 0..3 {
            peer.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello").await;
            assert_eq!(answered(&mut peer, 200).await, b"hello");
        }
        for _ in 0..3 {
            peer.send("POST /echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
                .await;
            peer.sees("active").await;
            peer.send("5\r\nhello\r\n0\r\n\r\n").await;
            peer.sees("idle").await;
            assert_eq!(peer.response().await.body, b"hello");
        }
        peer.get("/").await;
        answered(&mut peer, 200).await;
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn half_a_body_then_the_rest() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        for _ in 0..2 {
            peer.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 8\r\n\r\nhalf").await;
            peer.sees("active").await;
            peer.send("half").await;
            peer.sees("idle").await;
            assert_eq!(peer.response().await.body, b"halfhalf");
        }
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn half_a_body_then_reset() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 8\r\n\r\nhalf").await;
        peer.sees("active").await;
        peer.reset().await;
        peer.sees("closed").await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_small_body_ignored() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        for _ in 0..3 {
            peer.send("POST /ignore HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello")
                .await;
            answered(&mut peer, 200).await;
        }
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_body_ignored_that_never_comes() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.get("/").await;
        answered(&mut peer, 200).await;
        peer.send("POST /ignore HTTP/1.1\r\nhost: test\r\ncontent-length: 50\r\n\r\nhello").await;
        peer.sees("active closed").await;
        server_closes(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_body_read_in_part() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.send("POST /read-some HTTP/1.1\r\nhost: test\r\ncontent-length: 50\r\n\r\nhello")
            .await;
        peer.sees("active closed").await;
        server_closes(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_huge_body_ignored() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.send("POST /ignore HTTP/1.1\r\nhost: test\r\ncontent-length: 100000000\r\n\r\n").await;
        for _ in 0..16 {
            peer.try_send(vec![b'x'; 64 << 10]).await;
        }
        peer.sees("active closed").await;
    });
}

#[tokio::test(start_paused = true)]
async fn expect_continue() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        for _ in 0..2 {
            let head = "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";
            peer.send(head).await;
            peer.sees("active").await;
            assert_eq!(peer.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
            peer.send("hello").await;
            peer.sees("idle").await;
            assert_eq!(peer.response().await.body, b"hello");
        }
        close_idle(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn expect_continue_and_the_body_ignored() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.send("POST /ignore HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n")
            .await;
        peer.sees("active closed").await;
        server_closes(peer).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_and_the_client_resets() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.get("/slow").await;
        peer.sees("active").await;
        peer.reset().await;
        peer.sees("closed").await;
    });
}

#[tokio::test(start_paused = true)]
async fn the_handler_panics() {
    for path in ["/panic", "/panic-late"] {
        everywhere!(async |mut peer: Peer| {
            peer.sees("new").await;
            peer.get(path).await;
            peer.sees("active closed").await;
            server_closes(peer).await;
        });
        everywhere!(async |mut peer: Peer| {
            peer.sees("new").await;
            peer.get("/").await;
            answered(&mut peer, 200).await;
            peer.get(path).await;
            peer.sees("active closed").await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_body_fails() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.get("/").await;
        answered(&mut peer, 200).await;
        peer.get("/body-error").await;
        peer.sees("active closed").await;
        server_closes(peer).await;
    });
}

/// A body that is moved into a task which outlives the response.
///
/// Where the crate can follow it, the connection is busy until it has been
/// read; elsewhere the answer is all that counts, as the layer's documentation
/// says.
#[tokio::test(start_paused = true)]
async fn a_body_that_outlives_the_response() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        for _ in 0..2 {
            let head = "POST /detach HTTP/1.1\r\nhost: test\r\ncontent-length: 8\r\n\r\nhalf";
            peer.send(head).await;
            if !peer.kind.follows_bodies() {
                peer.sees("active idle").await;
                return;
            }
            peer.sees("active").await;
            assert_eq!(peer.response().await.body, b"later\n");
            peer.sees("").await;
            peer.send("half").await;
            peer.sees("idle").await;
        }
        close_idle(peer).await;
    });
}

/// The next request's first bytes come in one packet with the one before.
#[tokio::test(start_paused = true)]
async fn one_and_a_half_requests() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.send("GET / HTTP/1.1\r\nhost: test\r\n\r\nGET / HT").await;
        peer.sees("active idle").await;
        peer.send("TP/1.1\r\nhost: test\r\n\r\n").await;
        peer.sees("active idle").await;
        peer.response().await;
        peer.response().await;
        close_idle(peer).await;
    });
}

/// Pipelined requests, answered with bodies of known length that do not know
/// their own end, to a client that takes its time.
#[tokio::test(start_paused = true)]
async fn pipelined_requests_for_streams_of_known_length() {
    everywhere!(async |mut peer: Peer| {
        peer.sees("new").await;
        peer.send("GET /big-stream HTTP/1.1\r\nhost: test\r\n\r\n".repeat(2)).await;
        peer.get("/").await;
        peer.sees("active").await;
        for _ in 0..2 {
            assert_eq!(peer.response().await.body.len(), BIG);
        }
        peer.response().await;
        peer.sees("idle active idle active idle").await;
    });
}
