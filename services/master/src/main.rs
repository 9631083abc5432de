//! `fogflow-master`

fn main() {}
