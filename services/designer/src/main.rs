//! `fogflow-designer`

fn main() {}
