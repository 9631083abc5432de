//! `fogflow-broker`

fn main() {}
