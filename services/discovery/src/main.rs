//! `fogflow-discovery`

fn main() {}
