//! What programs that read Bronto tell their allocator, mimalloc.

/// The number of the allocator's option `purge_delay`, after how many milliseconds freed memory is given back.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Freed memory goes back at once. The allocator would keep it for a second, in which pages are freed many times over:
/// that doubled the peak where contacts have hundreds of custom fields. What pages need again and again isn't freed in the
/// first place. `MIMALLOC_PURGE_DELAY` wins.
///
/// To be called first, while there is one thread.
#[expect(unsafe_code, reason = "the allocator offers no other way from within the program")]
pub fn give_memory_back_soon() {
    // SAFETY: Setting an option isn't thread-safe, and this is called while there is one thread.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, 1) };
}
