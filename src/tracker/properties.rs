//! The tracker against the model, with scripts that proptest makes up.
//!
//! `PROPTEST_CASES=100000 cargo test --lib properties` runs for longer.

use proptest::collection::vec;
use proptest::prelude::*;

use super::model::{bytes, facts};

/// A script from arbitrary steps of `N` bytes. proptest prints the script, and
/// makes it smaller by its bytes.
fn script<const N: usize, S: std::fmt::Debug>(
    from: fn(&[u8]) -> Vec<S>,
) -> impl Strategy<Value = Vec<S>> {
    vec(any::<[u8; N]>(), 0..120).prop_map(move |steps| from(steps.as_flattened()))
}

/// The scripts are short, so that there is time for many.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.saturating_mul(8), ..default }
}

proptest! {
    #![proptest_config(config())]

    /// Any facts lead to a sequence that the contract allows, whoever reports
    /// it and when, and facts that nobody asked for or that are out of place
    /// change nothing.
    #[test]
    fn any_facts(script in script::<2, _>(facts::script)) {
        facts::check(&script);
    }

    /// Any pieces of the same bytes come to the same, and to what the frames
    /// say.
    #[test]
    fn any_bytes_in_any_pieces(script in script::<4, _>(bytes::script)) {
        bytes::check(&script);
    }
}
