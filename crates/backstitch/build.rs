//! Tells the linker where the program finds the DuckDB library at run time: beside itself or in a neighbouring `lib`.
//! The library itself is put there by `destination-duckdb`.

fn main() {
    for path in ["$ORIGIN", "$ORIGIN/..", "$ORIGIN/../lib"] {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{path}");
    }
}
