use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of `hasherd` or `hasher`, built from the sources as they are now.
///
/// Cargo does not build the programs of other crates for a test, so this asks it
/// to, once a test program; nothing is built that is up to date. Without cargo (an
/// installed test) the program must lie beside.
///
/// # Panics
/// When it cannot be built or is not there.
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        // target/<profile>/deps/<test>
        let test = std::env::current_exe().expect("a process has an executable");
        let deps = test.parent().expect("an executable is in a folder");
        let folder = deps.parent().expect("tests are built two folders deep");
        if let Some(cargo) = std::env::var_os("CARGO") {
            build(Path::new(&cargo), folder);
        }
        folder.to_owned()
    });
    let path = folder.join(name);
    assert!(path.is_file(), "no program {}", path.display());
    path
}

fn build(cargo: &Path, folder: &Path) {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let built = Command::new(cargo)
        // The whole workspace, and with the features that tests want (which one example
        // is enough for), so that nothing is built twice.
        .args([
            "build",
            "--workspace",
            "--bins",
            "--examples",
            "--quiet",
            "--profile",
            profile,
        ])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status()
        .expect("cargo can be started");
    assert!(built.success(), "the programs cannot be built");
}
