//! The dependency rule of docs/design.md, enforced over `cargo metadata` and, for
//! the rules that no manifest can express, over the source text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

/// Every edge that may exist between crates of this workspace, user → used.
const ALLOWED_EDGES: &[(&str, &[&str])] = &[
    ("hasher-work", &[]),
    ("hasher-kernel", &["hasher-work"]),
    ("hasher-driver", &["hasher-kernel", "hasher-work"]),
    ("hasher-wire", &["hasher-work"]),
    ("hasher-ring", &["hasher-wire", "hasher-work"]),
    (
        "hasher-daemon",
        &[
            "hasher-driver",
            "hasher-kernel",
            "hasher-ring",
            "hasher-wire",
            "hasher-work",
        ],
    ),
    (
        "hasher-client",
        &["hasher-kernel", "hasher-ring", "hasher-wire", "hasher-work"],
    ),
    ("hasher-model", &["hasher-kernel", "hasher-work"]),
    (
        "hasher-train",
        &["hasher-kernel", "hasher-model", "hasher-work"],
    ),
    ("hasher-data", &["hasher-train", "hasher-work"]),
    ("hasher-rules", &[]),
    (
        "hasher-cli",
        &[
            "hasher-client",
            "hasher-data",
            "hasher-kernel",
            "hasher-model",
            "hasher-rules",
            "hasher-train",
            "hasher-wire",
            "hasher-work",
        ],
    ),
    ("hasher-usb-emulator", &["hasher-driver"]),
    ("hasher-pages", &["hasher-cli", "hasher-daemon"]),
];

/// The same for the desktop app, which is a workspace of its own: what it declares.
const MONITOR_EDGES: &[(&str, &[&str])] = &[
    ("hasher-monitor", &["hasher-monitor-core"]),
    (
        "hasher-monitor-core",
        &[
            "hasher-client",
            "hasher-model",
            "hasher-train",
            "hasher-work",
        ],
    ),
];

/// The same for the Python package, which is a workspace of its own, too.
const PYTHON_EDGES: &[&str] = &[
    "hasher-client",
    "hasher-model",
    "hasher-train",
    "hasher-wire",
    "hasher-work",
];

/// What the core of the desktop app must do without: a display and a bus.
const FORBIDDEN_IN_MONITOR_CORE: &[&str] = &["gtk4", "libadwaita", "glib", "gio", "zbus"];

/// Crates that must stay usable without a runtime, a socket or a C library, and
/// what they must therefore never pull in, however indirectly.
const FORBIDDEN_BELOW: &[(&str, &[&str])] = &[
    ("hasher-work", &["tokio", "mio", "rayon", "nusb"]),
    ("hasher-kernel", &["tokio", "mio", "rayon", "nusb"]),
    ("hasher-wire", &["tokio", "mio", "hasher-driver"]),
    ("hasher-ring", &["tokio", "mio", "hasher-kernel"]),
    (
        "hasher-model",
        &["tokio", "mio", "rayon", "serde_json", "hasher-wire"],
    ),
    ("hasher-train", &["tokio", "mio", "image", "csv"]),
    ("hasher-data", &["tokio", "mio"]),
    ("hasher-client", &["zbus", "nusb", "hasher-driver"]),
    ("hasher-cli", &["nusb", "rusb", "udev", "hasher-driver"]),
];

/// Words that must not occur in a folder's sources, and why.
const FORBIDDEN_WORDS: &[(&str, &[&str], &str)] = &[
    (
        "daemon/src/core",
        &["tokio::net", "zbus", "nusb", "Instant::now", "SystemTime"],
        "the rules of fairness and credit take time as an argument",
    ),
    (
        "client/model/src",
        &[
            "std::fs",
            "std::net",
            "std::thread",
            "std::time",
            "std::env",
        ],
        "a model is pure: verification must run anywhere",
    ),
    (
        "driver/work/src",
        &[
            "std::fs",
            "std::net",
            "std::thread",
            "std::time",
            "std::env",
        ],
        "values of hash work know no world",
    ),
];

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("tests lies in the workspace")
        .to_path_buf()
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--filter-platform".to_owned(), PLATFORM.to_owned()])
        .exec()
        .expect("cargo metadata runs")
}

/// What is shipped is built for Linux; other systems' crates do not count.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Normal and build dependencies of each package in the resolved graph.
fn edges(metadata: &Metadata) -> BTreeMap<PackageId, Vec<PackageId>> {
    let resolve = metadata.resolve.as_ref().expect("metadata is resolved");
    let shipped = |kind: DependencyKind| kind != DependencyKind::Development;
    resolve
        .nodes
        .iter()
        .map(|node| {
            let used = node
                .deps
                .iter()
                .filter(|dep| dep.dep_kinds.iter().any(|info| shipped(info.kind)))
                .map(|dep| dep.pkg.clone())
                .collect();
            (node.id.clone(), used)
        })
        .collect()
}

fn name(metadata: &Metadata, id: &PackageId) -> String {
    metadata[id].name.to_string()
}

fn everything_below(
    edges: &BTreeMap<PackageId, Vec<PackageId>>,
    top: &PackageId,
) -> BTreeSet<PackageId> {
    let mut seen = BTreeSet::new();
    let mut waiting = vec![top.clone()];
    while let Some(id) = waiting.pop() {
        for used in &edges[&id] {
            if seen.insert(used.clone()) {
                waiting.push(used.clone());
            }
        }
    }
    seen
}

#[test]
fn crates_use_only_what_the_picture_allows() {
    let metadata = metadata();
    let edges = edges(&metadata);
    let allowed: BTreeMap<_, _> = ALLOWED_EDGES.iter().copied().collect();
    let members: BTreeSet<_> = metadata.workspace_members.iter().cloned().collect();
    for member in &members {
        let user = name(&metadata, member);
        if user == "hasher-tests" {
            continue; // it may use all; the next test sees that nothing uses it
        }
        let allowed = allowed
            .get(user.as_str())
            .unwrap_or_else(|| panic!("crate {user} is missing in the picture"));
        for used in edges[member].iter().filter(|used| members.contains(used)) {
            let used = name(&metadata, used);
            assert!(
                allowed.contains(&used.as_str()),
                "{user} must not use {used}"
            );
        }
    }
}

#[test]
fn nothing_uses_the_system_tests() {
    let metadata = metadata();
    for (user, used) in edges(&metadata) {
        for used in used {
            assert_ne!(name(&metadata, &used), "hasher-tests", "used by {user}");
        }
    }
}

#[test]
fn pure_crates_stay_free_of_runtimes_and_transports() {
    let metadata = metadata();
    let edges = edges(&metadata);
    for (top, forbidden) in FORBIDDEN_BELOW {
        let package = metadata.packages.iter().find(|p| p.name.as_str() == *top);
        let package = package.unwrap_or_else(|| panic!("no crate {top}"));
        for below in everything_below(&edges, &package.id) {
            let below = name(&metadata, &below);
            assert!(
                !forbidden.contains(&below.as_str()),
                "{top} pulls in {below}"
            );
        }
    }
}

#[test]
fn the_default_build_links_no_c_library() {
    // A `links` key names a native library. rayon-core and friends use it only to
    // be unique; nothing in the shipped trees needs even that.
    let metadata = metadata();
    let edges = edges(&metadata);
    for top in ["hasher-cli", "hasher-daemon"] {
        let package = metadata.packages.iter().find(|p| p.name.as_str() == top);
        let package = package.unwrap_or_else(|| panic!("no crate {top}"));
        for below in everything_below(&edges, &package.id) {
            let package = &metadata[&below];
            assert_eq!(
                package.links, None,
                "{top} links {} through {}",
                package.name, below
            );
        }
    }
}

#[test]
fn the_desktop_app_keeps_to_the_picture_and_out_of_the_default_build() {
    // Only what is declared: the whole graph would have to be fetched.
    let monitor = MetadataCommand::new()
        .manifest_path(root().join("client/monitor/Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata runs");
    let declared: BTreeSet<_> = monitor.packages.iter().map(|p| p.name.as_str()).collect();
    let known: BTreeSet<_> = MONITOR_EDGES.iter().map(|(name, _)| *name).collect();
    assert_eq!(declared, known);
    for package in &monitor.packages {
        let allowed = MONITOR_EDGES
            .iter()
            .find(|(name, _)| *name == package.name.as_str());
        let allowed = allowed.map_or(&[][..], |(_, allowed)| *allowed);
        for used in &package.dependencies {
            assert!(
                used.path.is_none() || allowed.contains(&used.name.as_str()),
                "{} must not use {}",
                package.name,
                used.name
            );
            assert!(
                package.name.as_str() != "hasher-monitor-core"
                    || !FORBIDDEN_IN_MONITOR_CORE.contains(&used.name.as_str()),
                "the app's core must not use {}",
                used.name
            );
        }
    }
    let default = metadata();
    for package in &default.packages {
        assert!(
            !known.contains(package.name.as_str()) && package.name.as_str() != "gtk4",
            "{} is in the default build",
            package.name
        );
    }
}

#[test]
fn the_python_package_keeps_to_the_picture_and_out_of_the_default_build() {
    let python = MetadataCommand::new()
        .manifest_path(root().join("client/python/Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata runs");
    let packages: Vec<_> = python.packages.iter().collect();
    assert_eq!(packages.len(), 1);
    for used in &packages[0].dependencies {
        assert!(
            used.path.is_none() || PYTHON_EDGES.contains(&used.name.as_str()),
            "the Python package must not use {}",
            used.name
        );
    }
    for package in &metadata().packages {
        assert_ne!(
            package.name.as_str(),
            "pyo3",
            "pyo3 is in the default build"
        );
    }
}

#[test]
fn pure_folders_never_name_clocks_or_sockets() {
    for (folder, words, reason) in FORBIDDEN_WORDS {
        let mut files = Vec::new();
        rust_files(&root().join(folder), &mut files);
        assert!(!files.is_empty(), "{folder} holds no source");
        for file in files {
            let text = fs::read_to_string(&file).expect("a source file is readable");
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                for word in *words {
                    assert!(
                        !code.contains(word),
                        "{}:{}: `{word}` is forbidden here: {reason}",
                        file.display(),
                        number + 1
                    );
                }
            }
        }
    }
}

#[test]
fn only_the_kernel_names_vector_instructions() {
    // Everything else but the ring's memory is free of unsafe code by lint, so this is
    // where it would begin.
    let sources = [
        "driver/src",
        "driver/work/src",
        "daemon/src",
        "client/src",
        "client/wire/src",
        "client/ring/src",
        "client/model/src",
        "client/train/src",
        "client/cli/src",
    ];
    for folder in sources {
        let mut files = Vec::new();
        rust_files(&root().join(folder), &mut files);
        assert!(!files.is_empty(), "{folder} holds no source");
        for file in files {
            let text = fs::read_to_string(&file).expect("a source file is readable");
            for word in ["std::arch", "core::arch", "target_feature"] {
                assert!(
                    !text.contains(word),
                    "{}: `{word}` belongs to driver/kernel",
                    file.display()
                );
            }
        }
    }
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
}
