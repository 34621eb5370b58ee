//! Any bytes as a boot-loader frame, as the loader and as the host reads it.
#![no_main]

use hasher_driver::boot_loader::{LoaderCommand, LoaderVersion};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(command) = LoaderCommand::decode(bytes) {
        assert_eq!(LoaderCommand::decode(&command.transfer()), Ok(command));
    }
    if let Ok(version) = LoaderVersion::decode(bytes) {
        assert_eq!(LoaderVersion::decode(&version.frame()), Ok(version));
    }
});
