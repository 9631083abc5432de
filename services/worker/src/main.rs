//! `fogflow-worker`

fn main() {}
