//! `fogflow`

fn main() {}
