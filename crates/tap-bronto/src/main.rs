//! The `tap-bronto` program: a Singer tap. Standard output carries messages and nothing else; see `--help`.

mod program;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tap_bronto::allocation::give_memory_back_soon();
    program::main()
}
