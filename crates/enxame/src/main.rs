//! enxame
fn main(){}
