//! The program `hasher`; everything is in its library.

fn main() -> std::process::ExitCode {
    hasher_cli::main()
}
