//! However a client opens streams and ends them, what is kept is bounded by
//! those that are open at once.

use proptest::collection::vec;
use proptest::prelude::*;

use super::tests::{end, get, post, reset};
use super::*;
use crate::tracker::model::streams::Streams as Model;

/// How many streams are opened in each run.
const OPENED: u32 = 100_000;

/// How many streams the server takes at once; it refuses others.
const LIMIT: usize = 250;

/// A step of a pattern that is repeated. A stream is named by how many others
/// were opened after it.
#[derive(Clone, Copy, Debug)]
enum Step {
    Open { with_body: bool },
    ClientResets(u32),
    ClientEnds(u32),
    ServerEnds(u32),
    ServerResets(u32),
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    let stream = || prop_oneof![0..4_u32, 0..64_u32];
    prop_oneof![
        4 => any::<bool>().prop_map(|with_body| Step::Open { with_body }),
        3 => stream().prop_map(Step::ClientResets),
        1 => stream().prop_map(Step::ClientEnds),
        2 => stream().prop_map(Step::ServerEnds),
        1 => stream().prop_map(Step::ServerResets),
        1 => Just(Step::Flush),
    ]
}

/// Both have seen the same frames.
struct Run {
    http2: Http2,
    model: Model,
    opened: u32,
}

impl Run {
    fn step(&mut self, step: Step) {
        // Before the first there is stream 0, which nobody opens.
        let id = |back: u32| (2 * self.opened).saturating_sub(2 * back + 1);
        match step {
            Step::Open { with_body } => {
                let id = 2 * self.opened + 1;
                self.opened += 1;
                self.read(&if with_body { post(id) } else { get(id) });
                if self.model.count() > LIMIT {
                    self.write(&reset(id));
                    self.step(Step::Flush);
                }
            }
            Step::ClientResets(back) => self.read(&reset(id(back))),
            Step::ClientEnds(back) => self.read(&end(id(back))),
            Step::ServerEnds(back) => self.write(&end(id(back))),
            Step::ServerResets(back) => self.write(&reset(id(back))),
            Step::Flush => {
                let _ = self.http2.flushed();
                self.model.flush();
            }
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        self.http2.read(bytes, |_| {});
        bytes.iter().for_each(|byte| self.model.read(*byte));
    }

    fn write(&mut self, bytes: &[u8]) {
        self.http2.written(bytes);
        bytes.iter().for_each(|byte| self.model.write(*byte));
    }

    /// The list has no more than two places for each stream that was open at
    /// once, and a `Vec` no more than twice as many as it ever held.
    fn check(&self) {
        let capacity = self.http2.streams.list.capacity();
        let open = self.model.max_open();
        assert!(capacity <= 4 * open + 4, "{capacity} places for {open} open streams");
    }
}

proptest! {
    // A case takes as long as hundreds of others.
    #![proptest_config({
        let default = ProptestConfig::default();
        ProptestConfig { cases: default.cases.div_ceil(64), max_shrink_iters: 100, ..default }
    })]

    #[test]
    fn a_flood_in_any_pattern(pattern in vec(step(), 1..24)) {
        let mut run = Run { http2: Http2::default(), model: Model::default(), opened: 0 };
        let mut steps = pattern.iter().cycle();
        // A pattern that opens none is soon over.
        // A pattern that opens hardly any ends nevertheless.
        for _ in 0..OPENED * 4 {
            if run.opened == OPENED {
                break;
            }
            run.step(*steps.next().expect("it does not end"));
        }
        run.check();
    }
}
