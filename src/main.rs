//! Arguments in, exit code out.

use std::process::ExitCode;

/// The C library's allocator keeps what a flood has freed, for as long as the process runs; this one gives it back
/// within seconds, whether or not the process has anything to do.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    lingpai::cli::run()
}
