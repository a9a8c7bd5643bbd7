//! The program `switchboard`: see `cli` for its commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: whoever touches TLS before a provider is chosen panics.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("switchboard: another TLS provider was installed before");
        return ExitCode::FAILURE;
    }
    switchboard::cli::run(std::env::args_os())
}
