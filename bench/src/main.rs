//! load generator

fn main() {}
