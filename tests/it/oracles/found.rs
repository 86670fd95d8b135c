//! Found
