//! Facts in any order: what is reported is a sequence that the contract allows,
//! each state of it for a reason, and none too late.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hyper_connstate::fuzzing::tracker(input));
