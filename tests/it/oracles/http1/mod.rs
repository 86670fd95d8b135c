//! HTTP/1: Idle is right exactly if a further request is answered.
//!
//! A [`Script`](script::Script) says what a client sends and what the handlers
//! do. Whenever the client pauses:
//!
//! 1. **Idle**: as many answers as requests are in the socket, and no request
//!    is under way. When all is over, a further request is answered.
//! 2. **Active**: something is under way by the client's own knowledge.
//! 3. **Closed**: the stream has ended.
//! 4. **Hijacked**: the client has got a 101 to an upgrade, or a 2xx to a
//!    CONNECT; and then it is nothing else.
//!
//! Where that is not quite so stands in [`exemptions`].

pub mod answer;
pub mod exemptions;
pub mod handler;
pub mod request;
pub mod response;
pub mod run;
pub mod script;

use super::search::{Settings, search};

#[test]
fn idle_exactly_if_kept() {
    search::<script::Script>(&Settings::of_environment(5_000));
}
