//! The program `backstitch`; all of it is in the library beside it.

fn main() -> std::process::ExitCode {
    backstitch::program()
}
