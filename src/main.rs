//! Arguments, exit codes and signals; nothing else.

fn main() {}
