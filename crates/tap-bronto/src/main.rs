//! The `tap-bronto` program: a Singer tap. Standard output carries messages and nothing else; see `--help`.

mod program;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of the allocator's option `purge_delay`, after how many milliseconds freed memory is given back.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> ExitCode {
    give_memory_back_soon();
    program::main()
}

/// Freed memory goes back at once. The allocator would keep it for a second, in which pages are freed many times over:
/// that doubled the peak where contacts have hundreds of custom fields. `MIMALLOC_PURGE_DELAY` wins.
#[expect(unsafe_code, reason = "the allocator offers no other way from within the program")]
fn give_memory_back_soon() {
    // SAFETY: Setting an option isn't thread-safe, and this is called first, when there is one thread.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, 1) };
}
