//! The program `target-backstitch`: `backstitch load` in the form that Meltano and other Singer runners start.

fn main() -> std::process::ExitCode {
    backstitch::singer_target()
}
