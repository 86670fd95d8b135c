//! What the handler does.

use crate::oracles::search::one_of;

/// How a handler treats a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub reading: Reading,
    /// It waits before it answers.
    pub waits: bool,
    pub status: u16,
    /// The response says that it is HTTP/1.0.
    pub http10: bool,
    pub connection: Option<&'static str>,
    pub length: Length,
    pub coding: bool,
    pub body: Body,
    pub size: usize,
    /// The response's body waits in its middle.
    pub halts: bool,
    pub owner: Owner,
}

/// What the handler does with the request's body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading {
    All,
    Some,
    /// Drops it at once.
    Not,
    /// A task reads it, which outlives the answer.
    Detached,
    /// A task has it, and reads it only later.
    DetachedLater,
    /// A task has it, and drops it later.
    HeldAndDropped,
    /// The response's body owns it, and drops it at its end.
    Carried,
}

/// What headers say of the length of the response.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    Unsaid,
    Right,
    /// Too much, or too little, where the body does not know it itself.
    More,
    Less,
    /// Two that differ.
    Conflicting,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body {
    /// In one piece of known length.
    Full,
    /// In pieces, of known length, but without knowing its end.
    Known,
    /// In pieces, of unknown length.
    Unknown,
    /// With trailers.
    Trailers,
    /// Fails after its first piece.
    Fails,
    Panics,
}

/// What becomes of a stream that is handed over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Owner {
    /// Nobody asks for it.
    None,
    /// It is dropped as soon as it is there.
    Drops,
    /// It is kept and not touched.
    Keeps,
    Echoes,
}

impl Answer {
    pub const PLAIN: Self = Self {
        reading: Reading::All,
        waits: false,
        status: 200,
        http10: false,
        connection: None,
        length: Length::Unsaid,
        coding: false,
        body: Body::Full,
        size: 6,
        halts: false,
        owner: Owner::None,
    };

    pub fn random(random: &mut fastrand::Rng) -> Self {
        use Reading::*;
        let body = match random.u8(..20) {
            0..8 => Body::Full,
            8..12 => Body::Known,
            12..17 => Body::Unknown,
            17 | 18 => Body::Trailers,
            _ => one_of(random, &[Body::Fails, Body::Panics]),
        };
        // hyper asserts that a length which a body knows is the one said.
        let length = match random.u8(..12) {
            0 => Length::Right,
            1 if body == Body::Unknown => Length::More,
            2 if body == Body::Unknown => Length::Less,
            3 | 4 if body == Body::Unknown => Length::Conflicting,
            _ => Length::Unsaid,
        };
        Self {
            reading: one_of(
                random,
                &[
                    All,
                    All,
                    All,
                    All,
                    Some,
                    Not,
                    Detached,
                    Detached,
                    DetachedLater,
                    HeldAndDropped,
                    Carried,
                ],
            ),
            waits: random.u8(..5) == 0,
            status: one_of(random, &[200, 200, 200, 200, 200, 404, 204, 304, 101]),
            http10: random.u8(..8) == 0,
            connection: match random.u8(..16) {
                0 => Option::Some("close"),
                1 | 2 => Option::Some("keep-alive"),
                _ => None,
            },
            length,
            coding: body == Body::Unknown && length == Length::Unsaid && random.u8(..4) == 0,
            body,
            size: one_of(random, &[0, 6, 6, 6, 20_000, 20_000, 200_000, 3_000_000]),
            halts: random.u8(..6) == 0,
            owner: one_of(random, &[Owner::None, Owner::Drops, Owner::Keeps, Owner::Echoes]),
        }
        .consistent()
    }

    /// With what there is no sense in taken out.
    pub fn consistent(mut self) -> Self {
        if matches!(self.status, 101 | 204 | 304) {
            self.body = Body::Full;
            self.size = 0;
        }
        if self.body == Body::Full {
            self.halts = false;
            if self.length != Length::Right {
                self.length = Length::Unsaid;
            }
        }
        if matches!(self.body, Body::Trailers | Body::Fails | Body::Panics) {
            self.length = Length::Unsaid;
        }
        if self.status == 101 || (self.size == 0 && self.length == Length::Right) {
            self.length = Length::Unsaid;
        }
        self.coding &= self.body == Body::Unknown && self.length == Length::Unsaid;
        self
    }

    pub fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let mut add = |smaller: Self| {
            let smaller = smaller.consistent();
            if smaller != *self {
                all.push(smaller);
            }
        };
        let this = || self.clone();
        add(Self::PLAIN);
        add(Self { reading: Reading::All, ..this() });
        if self.reading != Reading::All {
            add(Self { reading: Reading::Not, ..this() });
        }
        add(Self { waits: false, ..this() });
        add(Self { status: 200, ..this() });
        add(Self { http10: false, ..this() });
        add(Self { connection: None, ..this() });
        add(Self { length: Length::Unsaid, ..this() });
        add(Self { coding: false, ..this() });
        add(Self { body: Body::Full, ..this() });
        for size in [6, 20_000, 200_000] {
            if self.size > size {
                add(Self { size, ..this() });
            }
        }
        add(Self { halts: false, ..this() });
        add(Self { owner: Owner::None, ..this() });
        all
    }
}
