//! Helpers of the whole-system suites.
