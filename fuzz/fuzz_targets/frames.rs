//! HTTP/2 in both directions: any pieces of the same bytes come to the same,
//! and to what a plain model of the frames says.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hyper_connstate::fuzzing::frames(input));
