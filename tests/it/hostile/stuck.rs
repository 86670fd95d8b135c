//! Streams on which nothing goes on any more.

use std::time::Duration;

use hyper_connstate::CloseReason::*;
use hyper_connstate::ConnState;

use super::conversation::Conversation;
use super::plan::Plan;
use super::run::{Observer, answer_ends, check_cut_short, converse, expected, run_bare};
use super::stack::Stack;
use super::stream::Hostile;

/// Has a conversation that comes to a stop in the middle, and ends it.
pub async fn check_stuck(stack: Stack, conversation: &Conversation, plan: Plan) {
    for closes in [true, false] {
        let context = format!("{stack:?}, {:?}, {plan:?}, {closes}", conversation.name);
        let (stream, control) = Hostile::new(plan);
        let observer = Observer::new(&control);
        let task = stack.serve(stream, observer.clone());
        let outcome = converse(&control, conversation, || observer.reports().states.len()).await;
        let conn = observer.conn();
        let over = conn.close_reason().is_some();
        // `serve` gives clients half a minute to say which protocol they speak.
        let times_out =
            !over && !stack.owns_task() && conn.protocol() == hyper_connstate::Protocol::Unknown;

        // Time goes by, and nobody asks.
        tokio::time::sleep(Duration::from_secs(30 * 60)).await;
        let polls = control.lock().polls - outcome.polls;
        // The task is polled for its time-out, once.
        assert!(polls == 0 || times_out && polls <= 4, "{context}: polled in vain, {polls} times");
        assert_eq!(over || times_out, control.lock().dropped, "{context}");

        if times_out {
            assert_eq!(conn.state(), ConnState::Closed, "{context}");
        } else if closes {
            conn.close();
            // A client that was answered has half a second to go.
            tokio::time::timeout(Duration::from_secs(1), conn.closed()).await.expect(&context);
        } else if !conn.state().is_terminal() && stack.owns_task() {
            task.abort();
            conn.closed().await;
        } else {
            continue;
        }
        let bare = run_bare(stack, conversation, Plan::PLAIN).await;
        let ends = answer_ends(stack, conversation).await;
        let reports = observer.reports();
        let terminal = |state: &&ConnState| state.is_terminal();
        assert_eq!(reports.states.iter().filter(terminal).count(), 1, "{context}");
        let words: Vec<_> = reports.states.iter().map(ToString::to_string).collect();
        check_cut_short(&words, &expected(conversation, &bare, &ends).words, &context);
        if conn.state() == ConnState::Closed {
            assert!(reports.reason.is_some(), "{context}: Closed before the stream was dropped");
        }
        if !over && conn.state() == ConnState::Closed {
            let by_program = if times_out {
                TimedOut
            } else if closes {
                ClosedByProgram
            } else {
                Aborted
            };
            // It was about to end by itself when it came to the stop.
            let earlier = [PeerClosed, ServerClosed, ProtocolError, HandlerPanicked];
            let reason = reports.reason.unwrap();
            assert!(reason == by_program || earlier.contains(&reason), "{context}: {reason:?}");
        }
    }
}
